//go:build !linux

package load

import "context"

// preciseWait is waitTimer where nothing better is known.
func preciseWait(context.Context) (wait waitFunc, done func()) { return waitTimer, func() {} }
