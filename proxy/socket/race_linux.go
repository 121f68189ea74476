//go:build race

package socket

import (
	"syscall"
	"unsafe"
)

// system makes the call by package syscall, which tells the race detector what the kernel reads and writes, and in which
// order.
func (t *transfer) system(fd uintptr) (n int, errno syscall.Errno) {
	var err error
	switch t.call {
	case syscall.SYS_READ:
		n, err = syscall.Read(int(fd), unsafe.Slice((*byte)(t.arg), t.size))
	case syscall.SYS_WRITE:
		n, err = syscall.Write(int(fd), unsafe.Slice((*byte)(t.arg), t.size))
	default:
		for _, v := range t.vec {
			var wrote int
			if wrote, err = syscall.Write(int(fd), unsafe.Slice(v.Base, v.Len)); err != nil && n > 0 {
				return n, 0 // as far as it went
			}
			if n += max(wrote, 0); err != nil || wrote < int(v.Len) {
				break
			}
		}
	}
	if err != nil {
		errno, _ = err.(syscall.Errno) //nolint:errorlint // a bare errno
		return -1, errno
	}
	return n, 0
}
