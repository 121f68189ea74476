//go:build !unix

package main

import "time"

// processCPU is the processor time that this process has used; 0 where that is not known.
func processCPU() time.Duration { return 0 }
