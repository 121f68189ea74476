package socket

import (
	"io"
	"os"
	"syscall"
	"unsafe"
)

// maxCall bounds the bytes of one system call: the scheduler can't take the processor back while it runs.
const maxCall = 64 << 10

// raw holds what the two directions of a connection need, so that no call allocates.
type raw struct {
	conn    syscall.RawConn
	in, out transfer
	try     func(fd uintptr) // in.once for Control
	ready   bool             // what it returned
	talk    *conversation    // made when first needed
}

// transfer is one system call's arguments and result. The functions are bound once.
type transfer struct {
	call  uintptr // SYS_READ, SYS_WRITE or SYS_WRITEV
	arg   unsafe.Pointer
	size  uintptr
	n     int
	errno syscall.Errno
	do    func(fd uintptr) (done bool)
	vec   [2]syscall.Iovec

	deadline deadline
}

func newRaw(tcp Stream) *raw {
	rc, err := tcp.SyscallConn()
	if err != nil {
		return nil
	}
	r := &raw{conn: rc}
	r.in.do, r.out.do = r.in.onceOrArm, r.out.onceOrArm
	r.in.deadline.tell, r.out.deadline.tell = tcp.SetReadDeadline, tcp.SetWriteDeadline
	r.try = func(fd uintptr) { r.ready = r.in.once(fd) }
	return r
}

// onceOrArm is once for who will wait.
func (t *transfer) onceOrArm(fd uintptr) (done bool) {
	if done = t.once(fd); !done {
		t.deadline.arm()
	}
	return done
}

// once makes the system call. Not done means that the socket is not ready: the runtime waits and calls again.
func (t *transfer) once(fd uintptr) (done bool) {
	for {
		n, errno := t.system(fd)
		switch errno {
		case syscall.EINTR:
			continue
		case syscall.EAGAIN:
			return false
		}
		t.n, t.errno = n, errno
		return true
	}
}

func (r *raw) read(c Stream, p []byte) (int, error) {
	r.in.prepareRead(p)
	err := r.conn.Read(r.in.do)
	for err != nil && r.in.deadline.early(err) {
		err = r.conn.Read(r.in.do)
	}
	return r.received(c, err)
}

// tryRead reads without waiting. Control neither waits for a reader nor looks at deadlines.
func (r *raw) tryRead(c Stream, p []byte) (int, error) {
	r.in.prepareRead(p)
	err := r.conn.Control(r.try)
	if err == nil && !r.ready {
		err = ErrWouldBlock
	}
	return r.received(c, err)
}

func (t *transfer) prepareRead(p []byte) {
	t.call, t.arg, t.size = syscall.SYS_READ, unsafe.Pointer(unsafe.SliceData(p)), uintptr(min(len(p), maxCall))
}

// received is the outcome of a read. err is what kept the call from being made.
func (r *raw) received(c Stream, err error) (int, error) {
	t := &r.in
	t.arg = nil
	switch {
	case err != nil:
		return 0, err
	case t.errno != 0:
		return 0, opError("read", c, os.NewSyscallError("read", t.errno))
	case t.n == 0:
		return 0, io.EOF
	}
	return t.n, nil
}

func (r *raw) write(c Stream, p []byte) (n int, err error) {
	for n < len(p) {
		rest := p[n:min(len(p), n+maxCall)]
		r.out.call, r.out.arg, r.out.size = syscall.SYS_WRITE, unsafe.Pointer(unsafe.SliceData(rest)), uintptr(len(rest))
		wrote, err := r.send(c)
		if n += wrote; err != nil {
			return n, err
		}
	}
	return n, nil
}

// writeBoth sends a and the start of b with one call, and what is left in further ones.
func (r *raw) writeBoth(c Stream, a, b []byte) (n int, err error) {
	if len(a) == 0 || len(b) == 0 || len(a) >= maxCall {
		if n, err = r.write(c, a); err != nil {
			return n, err
		}
		more, err := r.write(c, b)
		return n + more, err
	}
	t := &r.out
	first := b[:min(len(b), maxCall-len(a))]
	t.vec[0].Base, t.vec[1].Base = unsafe.SliceData(a), unsafe.SliceData(first)
	t.vec[0].SetLen(len(a))
	t.vec[1].SetLen(len(first))
	t.call, t.arg, t.size = syscall.SYS_WRITEV, unsafe.Pointer(&t.vec), uintptr(len(t.vec))
	n, err = r.send(c)
	t.vec = [2]syscall.Iovec{}
	if err != nil {
		return n, err
	}
	if n < len(a) {
		more, err := r.write(c, a[n:])
		if n += more; err != nil {
			return n, err
		}
	}
	more, err := r.write(c, b[n-len(a):])
	return n + more, err
}

// send makes the prepared call of the writing direction.
func (r *raw) send(c Stream) (int, error) {
	t := &r.out
	err := r.conn.Write(t.do)
	for err != nil && t.deadline.early(err) {
		err = r.conn.Write(t.do)
	}
	t.arg = nil
	switch {
	case err != nil:
		return 0, err
	case t.errno != 0:
		return 0, opError("write", c, os.NewSyscallError("write", t.errno))
	case t.n == 0:
		return 0, io.ErrUnexpectedEOF
	}
	return t.n, nil
}
