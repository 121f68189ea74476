package anomaly

import "math"

// reporter lets through only what stands out: a raw score well above the highest of late (refractory memory), lowered by how many
// were let through of late (alarm budget). So one event is one alarm, and a series in turmoil has to shout louder.
type reporter struct {
	highest float64 // raw score of late, decaying
	alarms  float64 // let through of late, decaying
}

const (
	standOut     = 1.5  // times the highest of late
	memoryTicks  = 72   // half-life of the highest
	budgetTicks  = 500  // half-life of the alarms
	budgetWeight = .3   // how much each alarm of late lowers the next
	fullAlarm    = .25  // a raw score that counts as one alarm; lower ones count in proportion
	leastScore   = .01  // nothing below is let through
	alarmAt      = .135 // the lowered score that is an alarm, [Threshold] on the scale of Score.Value
	leaveAt      = alarmAt / 3
)

var (
	memoryDecay = math.Exp2(-1. / memoryTicks)
	budgetDecay = math.Exp2(-1. / budgetTicks)
)

// step returns the reported score, in [0, 1), and the raw score that would have been an alarm.
func (r *reporter) step(raw float64) (score, need float64) {
	r.highest *= memoryDecay
	r.alarms *= budgetDecay
	cost := 1 + budgetWeight*r.alarms
	gate := max(standOut*r.highest, leastScore)
	need = max(gate, alarmAt*cost)
	if raw > gate {
		lowered := raw / cost
		score = lowered / (lowered + alarmAt) // alarmAt becomes one half
		r.alarms += min(1, raw/fullAlarm)
	}
	r.highest = max(r.highest, raw)
	return score, need
}
