package config

// Tier is the service tier that a request was served at, which sets its price.
type Tier uint8

// The service tiers. A tier that the list has no price for is charged at Standard.
const (
	Standard Tier = iota
	Batch
	Flex
	Priority

	tiersEnd // one past the last
)

// ParseTier tells the tier from what providers call it in service_tier: batch, flex, priority; all else, such as
// "default", "auto", "standard" and nothing at all, is Standard.
func ParseTier(name []byte) Tier {
	switch string(name) {
	case "batch":
		return Batch
	case "flex":
		return Flex
	case "priority":
		return Priority
	default:
		return Standard
	}
}

// Rates are the prices of one attempt, every kind filled in.
type Rates struct {
	Input        PicoUSD // per uncached text token read
	CacheRead    PicoUSD
	CacheWrite5m PicoUSD // also of providers that know one lifetime
	CacheWrite1h PicoUSD
	Output       PicoUSD // per text token written
	Reasoning    PicoUSD // per reasoning token, in place of Output
	AudioInput   PicoUSD
	AudioOutput  PicoUSD
	ImageInput   PicoUSD
	ImageOutput  PicoUSD
	WebSearch    NanoUSD // per query; 0 when the list names none
}
