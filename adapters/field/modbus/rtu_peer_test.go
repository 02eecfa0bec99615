package modbus_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/twinlog/twinlog/test/peer"
)

// units are pymodbus's, in RTU framing, under the test's command.
type units struct {
	tb   testing.TB
	in   io.WriteCloser
	out  *bufio.Scanner
	port int
}

// startUnits starts them, on TCP or on the serial line at a device.
func startUnits(tb testing.TB, where ...string) *units {
	tb.Helper()
	python := peer.Need(tb, "/usr/bin/python3")
	if exec.CommandContext(tb.Context(), python, "-c", "import pymodbus, serial_asyncio").Run() != nil {
		peer.Missing(tb, "python3-pymodbus and python3-serial-asyncio are not installed; .ci/run installs them")
	}
	_, err := os.Stat("../../../test/peers/modbus_rtu.py")
	if err != nil {
		tb.Fatal(err)
	}
	cmd := exec.CommandContext(tb.Context(), python, append([]string{"../../../test/peers/modbus_rtu.py"}, where...)...)
	in, err := cmd.StdinPipe()
	if err != nil {
		tb.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		tb.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		_ = in.Close() // it exits at the end of its input
		_ = cmd.Wait()
	})
	u := &units{tb: tb, in: in, out: bufio.NewScanner(out)}
	var first struct{ Port int }
	u.answer(&first)
	u.port = first.Port
	return u
}

func (u *units) address() string { return fmt.Sprintf("127.0.0.1:%d", u.port) }

func (u *units) answer(into any) {
	u.tb.Helper()
	if !u.out.Scan() {
		u.tb.Fatalf("the peer ended: %v", u.out.Err())
	}
	if err := json.Unmarshal(u.out.Bytes(), into); err != nil {
		u.tb.Fatalf("the peer said %q: %v", u.out.Text(), err)
	}
}

// set puts values into the holding registers of a unit, as on the wire.
func (u *units) set(unit, address int, values ...int) {
	u.tb.Helper()
	u.command(map[string]any{"unit": unit, "fc": 3, "address": address, "set": values})
}

// get returns what a table of a unit holds.
func (u *units) get(unit, function, address, n int) []int {
	u.tb.Helper()
	return u.command(map[string]any{"unit": unit, "fc": function, "address": address, "get": n}).Values
}

func (u *units) command(c map[string]any) (answer struct{ Values []int }) {
	u.tb.Helper()
	b, err := json.Marshal(c)
	if err != nil {
		u.tb.Fatal(err)
	}
	if _, err := u.in.Write(append(b, '\n')); err != nil {
		u.tb.Fatal(err)
	}
	u.answer(&answer)
	return answer
}

// A line is a pair of pseudo terminals with the test between them: what one end
// writes the other reads, unless the test does worse.
type line struct {
	near, far string         // the devices
	noise     chan []byte    // bytes put on the line towards near, before the next that pass
	eat       chan struct{}  // each swallows one piece from far
	hold      chan chan bool // each holds one piece from far back until its channel is closed
}

// newLine makes a line. It ends with the test.
func newLine(tb testing.TB) *line {
	tb.Helper()
	a, near := terminal(tb)
	b, far := terminal(tb)
	l := &line{near: near, far: far, noise: make(chan []byte, 10), eat: make(chan struct{}, 10), hold: make(chan chan bool, 10)}
	go func() { _, _ = io.Copy(b, a) }()
	go func() {
		buf := make([]byte, 4096)
		for {
			n, err := b.Read(buf)
			if err != nil {
				return
			}
			select {
			case <-l.eat:
				continue
			case until := <-l.hold:
				<-until
			default:
			}
			select {
			case bytes := <-l.noise:
				_, _ = a.Write(bytes)
			default:
			}
			_, _ = a.Write(buf[:n])
		}
	}()
	return l
}

// terminal opens a pseudo terminal that passes bytes as they are, and returns
// its master side and the name of its device.
func terminal(tb testing.TB) (*os.File, string) {
	tb.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		tb.Skipf("no pseudo terminals here: %v", err)
	}
	fd := int(master.Fd())
	if err := unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0); err != nil {
		tb.Fatal(err)
	}
	n, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err != nil {
		tb.Fatal(err)
	}
	name := filepath.Join("/dev/pts", fmt.Sprint(n))
	// Held open, so that the line stands while neither end uses it.
	slave, err := os.OpenFile(name, os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		tb.Fatal(err)
	}
	t, err := unix.IoctlGetTermios(int(slave.Fd()), unix.TCGETS)
	if err != nil {
		tb.Fatal(err)
	}
	t.Iflag, t.Oflag, t.Lflag = 0, 0, 0
	if err := unix.IoctlSetTermios(int(slave.Fd()), unix.TCSETS, t); err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		_ = slave.Close()
		_ = master.Close()
	})
	return master, name
}

func noise(rng *rand.Rand, n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(rng.Uint32())
	}
	return b
}
