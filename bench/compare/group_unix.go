//go:build unix

package compare

import (
	"os/exec"
	"syscall"
)

// ownGroup has a program and all that it starts share a process group.
func ownGroup(c *exec.Cmd) { c.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} }

func endGroup(pid int, atOnce bool) {
	sig := syscall.SIGTERM
	if atOnce {
		sig = syscall.SIGKILL
	}
	_ = syscall.Kill(-pid, sig)
}
