package storage

import "errors"

var (
	// ErrNotFound says that there is no value of that name.
	ErrNotFound = errors.New("not found")
	// ErrFull says that the disk has less free space than the reserve, or that the database has reached its own limit.
	ErrFull = errors.New("disk full")
	// ErrDamaged says that files can't be read as what they should be.
	ErrDamaged = errors.New("files are damaged")
	// ErrInUse says that another process has the directory open.
	ErrInUse = errors.New("in use by another process")
	// ErrNewer says that a newer version of the program has written the directory.
	ErrNewer = errors.New("written by a newer version")
	// ErrUnavailable says that the database does not answer for now.
	ErrUnavailable = errors.New("storage unavailable")
	// ErrTooLarge says that one write holds more than a transaction can.
	ErrTooLarge = errors.New("too much for one write")
)

// wireErrors are the errors that keep their identity between the processes, by their number there.
var wireErrors = []error{nil, ErrNotFound, ErrFull, ErrDamaged, ErrInUse, ErrNewer, ErrUnavailable, ErrTooLarge}

// remoteError is an error that another process has told.
type remoteError struct {
	text string
	kind error // nil: none of ours
}

func (e *remoteError) Error() string { return e.text }
func (e *remoteError) Unwrap() error { return e.kind }

func errorNumber(err error) byte {
	for i, kind := range wireErrors {
		if kind != nil && errors.Is(err, kind) {
			return byte(i)
		}
	}
	return 0
}

func errorOf(number byte, text string) error {
	e := &remoteError{text: text}
	if int(number) < len(wireErrors) {
		e.kind = wireErrors[number]
	}
	return e
}
