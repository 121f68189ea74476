package socket

import (
	"syscall"
	"unsafe"
)

// conversation is a wait for an answer, from before its question is sent. The runtime's poller tells of news once and
// forgets what it told when a new read begins. So a read that begins after the question was sent has to look first, most
// often in vain; one that begins before may go straight to waiting, because whatever comes after its first look is told.
type conversation struct {
	raw   *raw
	send  func() bool
	stage stage
	step  func(fd uintptr) (done bool) // next, bound once
	peek  [1]byte
}

type stage uint8

const (
	listening stage = iota // nothing may have come in yet
	asked                  // sent and waiting
	resumed                // a new read: something may have come between the two
	failed                 // something had come in before
)

func (r *raw) converse(send func() bool) error {
	v := r.talk
	if v == nil {
		v = &conversation{raw: r}
		v.step = v.next
		r.talk = v
	}
	v.send, v.stage = send, listening
	err := r.conn.Read(v.step)
	for err != nil && r.in.deadline.early(err) {
		if v.stage == asked {
			v.stage = resumed
		}
		err = r.conn.Read(v.step)
	}
	v.send = nil
	if v.stage == failed {
		return ErrNotSilent
	}
	return err
}

func (v *conversation) next(fd uintptr) (done bool) {
	switch v.stage {
	case listening:
		if v.news(fd) {
			v.stage = failed
			return true
		}
		v.stage = asked
		if !v.send() {
			return true
		}
	case resumed:
		if v.news(fd) {
			return true
		}
		v.stage = asked
	default:
		return true // woken
	}
	v.raw.in.deadline.arm()
	return false
}

// news tells whether there is anything to read: bytes, the end or an error.
func (v *conversation) news(fd uintptr) bool {
	for {
		_, _, errno := syscall.RawSyscall6(syscall.SYS_RECVFROM, fd, uintptr(unsafe.Pointer(&v.peek)), 1, syscall.MSG_PEEK, 0, 0)
		if errno != syscall.EINTR {
			return errno != syscall.EAGAIN
		}
	}
}
