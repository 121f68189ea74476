package simulate

import (
	"math"
	"math/rand/v2"
)

// sessions are conversations under way. Their draws are apart from those of the requests, which stay what they are without sessions.
type sessions struct {
	draw *rand.Rand
	mean float64 // requests of a session
	open [openSessions]session
}

const (
	openSessions = 64
	// alike is the part of the variance of the logarithm of sizes that the requests of a session have in common.
	alike = .5
)

// session is one conversation. Its sizes are off the median by these standard deviations.
type session struct {
	hash          uint64
	input, output float64
}

func (w *world) newSessions() *sessions {
	return &sessions{draw: rand.New(rand.NewPCG(w.seed, 3)), mean: max(w.Traffic.Session, 1)}
}

// next is the session of the next request: one that is open, or after as many requests as sessions have in the mean a new one in its place.
func (s *sessions) next() session {
	i := s.draw.IntN(openSessions)
	if t := &s.open[i]; t.hash == 0 || s.draw.Float64()*s.mean < 1 {
		*t = session{hash: s.draw.Uint64()}
		if s.mean > 1 {
			t.input, t.output = s.draw.NormFloat64(), s.draw.NormFloat64()
		}
	}
	return s.open[i]
}

// sized is a size of a session's request.
func (s *sessions) sized(draw *rand.Rand, median, sigma, common float64) int {
	if s.mean > 1 {
		median, sigma = median*math.Exp(sigma*math.Sqrt(alike)*common), sigma*math.Sqrt(1-alike)
	}
	return lognormal(draw, median, sigma)
}
