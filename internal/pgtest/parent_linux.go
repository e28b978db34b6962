package pgtest

import "syscall"

// endWithParent has a process ended by the kernel when the test binary is
// killed, or gives up, and stops nothing any more.
func endWithParent(attr *syscall.SysProcAttr) { attr.Pdeathsig = syscall.SIGQUIT }
