// Package porttest picks ports that no other test is given meanwhile.
package porttest

import (
	"net"
	"testing"
)

// Hold returns an end of a connection. As long as it is open, nobody is given
// its local port, and connections to that are refused; but a server that is told
// to listen at it, and sets SO_REUSEADDR as servers do, can.
func Hold() (net.Conn, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	defer l.Close()
	other, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		return nil, err
	}
	defer other.Close()
	return l.Accept() // which has the listener's port
}

// Refusing returns an address that refuses connections until the test ends.
func Refusing(t testing.TB) string {
	t.Helper()
	held, err := Hold()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { held.Close() })
	return held.LocalAddr().String()
}
