package badgerlog_test

import (
	"fmt"
	"os"
	"os/exec"
	"testing"
)

// What must be killed, traced or may die runs in a child: this test binary
// again, told by the environment which part to play.
const roleEnv = "TWINLOG_BADGERLOG_ROLE"

var roles = map[string]func(dir string) error{
	"write":  writeUntilKilled,
	"answer": answerAppends,
	"verify": verifyDamaged,
	"seal":   sealUntilKilled,
}

func TestMain(m *testing.M) {
	role := roles[os.Getenv(roleEnv)]
	if role == nil {
		os.Exit(m.Run())
	}
	if err := role(os.Args[len(os.Args)-1]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// child returns a command that plays a role on a directory; before is a
// program to run it under.
func child(t testing.TB, role, dir string, before ...string) *exec.Cmd {
	args := append(before, os.Args[0], dir)
	cmd := exec.CommandContext(t.Context(), args[0], args[1:]...)
	cmd.Env = append(os.Environ(), roleEnv+"="+role)
	cmd.Stderr = os.Stderr
	return cmd
}
