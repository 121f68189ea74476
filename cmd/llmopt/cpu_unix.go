//go:build unix

package main

import (
	"time"

	"golang.org/x/sys/unix"
)

// processCPU is the processor time that this process has used; 0 where that is not known.
func processCPU() time.Duration {
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
