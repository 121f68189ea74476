package main

import (
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
)

// notify tells systemd what the process is doing. Without systemd it does nothing.
func notify(state string) { _, _ = daemon.SdNotify(false, state) } // who does not listen misses it

// watchdog tells systemd now and then that the process is alive, where WatchdogSec asks for that.
type watchdog struct {
	every time.Duration // 0: nobody asks
	last  time.Time
}

func newWatchdog() *watchdog {
	limit, err := daemon.SdWatchdogEnabled(false)
	if err != nil {
		return &watchdog{}
	}
	return &watchdog{every: limit / 3} // two may get lost
}

func (w *watchdog) alive(now time.Time) {
	if w.every > 0 && now.Sub(w.last) >= w.every {
		w.last = now
		notify(daemon.SdNotifyWatchdog)
	}
}
