package load

import (
	"context"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// preciseWait waits by a timer of the kernel. The runtime's own timers end up to a millisecond late while nothing else
// happens, because it waits for them in whole milliseconds; this one is a descriptor like any other that it waits for.
// done gives it back. Without such a timer it is waitTimer.
func preciseWait(ctx context.Context) (wait waitFunc, done func()) {
	fd, err := unix.TimerfdCreate(unix.CLOCK_MONOTONIC, unix.TFD_NONBLOCK|unix.TFD_CLOEXEC)
	if err != nil {
		return waitTimer, func() {}
	}
	timer := os.NewFile(uintptr(fd), "timer")
	if err := timer.SetReadDeadline(time.Time{}); err != nil { // the runtime does not wait for it
		_ = timer.Close()
		return waitTimer, func() {}
	}
	stop := context.AfterFunc(ctx, func() {
		_ = timer.SetReadDeadline(time.Unix(1, 0)) // fails on a closed timer only, for which nobody waits
	})
	var expired [8]byte
	wait = func(ctx context.Context, at time.Time) bool {
		left := time.Until(at)
		if left <= 0 {
			return ctx.Err() == nil
		}
		if err := unix.TimerfdSettime(fd, 0, &unix.ItimerSpec{Value: unix.NsecToTimespec(int64(left))}, nil); err != nil {
			return waitTimer(ctx, at)
		}
		if _, err := timer.Read(expired[:]); err != nil {
			return waitTimer(ctx, at)
		}
		return ctx.Err() == nil
	}
	return wait, func() {
		stop()
		_ = timer.Close() // nothing was written
	}
}
