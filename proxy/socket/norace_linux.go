//go:build !race

package socket

import "syscall"

// system makes the call. The buffers are kept alive by t.
func (t *transfer) system(fd uintptr) (n int, errno syscall.Errno) {
	done, _, errno := syscall.RawSyscall(t.call, fd, uintptr(t.arg), t.size)
	return int(done), errno
}
