package porttest_test

import (
	"errors"
	"net"
	"syscall"
	"testing"

	"github.com/hotdash/chatwoot-sla/internal/porttest"
)

func refused(t *testing.T, addr string) {
	t.Helper()
	if c, err := net.Dial("tcp", addr); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Fatalf("dialled %v, %v", c, err)
	}
}

func TestAServerListensAtItsPortAgainAndAgain(t *testing.T) {
	held, err := porttest.Hold()
	if err != nil {
		t.Fatal(err)
	}
	defer held.Close()
	addr := held.LocalAddr().String()
	for range 3 {
		refused(t, addr)
		l, err := net.Listen("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		c, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		c.Close()
		l.Close()
	}
}

func TestRefusingKeepsItsPort(t *testing.T) {
	addr := porttest.Refusing(t)
	refused(t, addr)
	// SO_REUSEADDR alone gets it, and not where the kernel chooses the port.
	var failed error
	config := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) error {
		return errors.Join(c.Control(func(fd uintptr) {
			failed = syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_REUSEADDR, 0)
		}), failed)
	}}
	if l, err := config.Listen(t.Context(), "tcp", addr); !errors.Is(err, syscall.EADDRINUSE) {
		t.Errorf("listens at %v, %v", l, err)
	}
}
