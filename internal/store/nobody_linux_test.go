package store_test

import (
	"runtime"
	"syscall"
	"testing"
)

// asNobody runs f without root's right to write everywhere.
func asNobody(t *testing.T, f func()) {
	t.Helper()
	if syscall.Getuid() == 0 {
		runtime.LockOSThread()
		if err := syscall.Setfsuid(65534); err != nil {
			t.Fatal(err)
		}
		defer func() {
			if err := syscall.Setfsuid(0); err != nil {
				t.Error(err)
			}
			runtime.UnlockOSThread()
		}()
	}
	f()
}
