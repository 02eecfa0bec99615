package broker_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net"
	"os/exec"
	"slices"
	"testing"
	"time"

	"github.com/eclipse/paho.golang/paho"

	"github.com/twinlog/twinlog/adapters/broker"
	"github.com/twinlog/twinlog/test/peer"
)

// These tests talk to clients that were not written here.

// run runs a program to its end and returns what it printed.
func run(t *testing.T, dir, program string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), program, args...)
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s %q: %v\n%s", program, args, err, out)
	}
	return string(out)
}

func TestMosquittoClients(t *testing.T) {
	pub, sub := peer.Need(t, "mosquitto_pub"), peer.Need(t, "mosquitto_sub")
	for _, v := range []string{"mqttv311", "mqttv5"} {
		t.Run(v, func(t *testing.T) {
			d := newDesk()
			b := start(t, broker.Config{Handler: func(p broker.Publish, ack func(broker.Ack)) <-chan struct{} {
				d.handle(p, ack)
				time.AfterFunc(20*time.Millisecond, func() { ack(broker.Ack{Refused: "telemetry-P-1.0@3"}) })
				return nil
			}})
			_, port, _ := net.SplitHostPort(b.Addr().String())

			listen := exec.CommandContext(t.Context(), sub, "-h", "127.0.0.1", "-p", port, "-V", v, "-q", "1", "-t", "acme/#", "-C", "3", "-W", "10", "-F", "%t %p")
			stdout, err := listen.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := listen.Start(); err != nil {
				t.Fatal(err)
			}
			for b.Stats().Subscribers == 0 {
				time.Sleep(5 * time.Millisecond)
			}
			for qos := range 3 {
				run(t, "", pub, "-h", "127.0.0.1", "-p", port, "-V", v, "-i", "P-1", "-q", fmt.Sprint(qos), "-t", telemetry, "-m", fmt.Sprint("qos ", qos))
			}
			var lines []string
			for s := bufio.NewScanner(stdout); s.Scan(); {
				lines = append(lines, s.Text())
			}
			if err := listen.Wait(); err != nil {
				t.Fatalf("mosquitto_sub: %v, printed %q", err, lines)
			}
			slices.Sort(lines) // three connections, so in any order
			if want := []string{telemetry + " qos 0", telemetry + " qos 1", telemetry + " qos 2"}; !slices.Equal(lines, want) {
				t.Fatalf("subscriber got %q", lines)
			}
			for _, p := range d.wait(t, 3) {
				if string(p.Payload) != fmt.Sprint("qos ", p.QoS) || p.Client != "P-1" {
					t.Fatalf("%+v", p)
				}
			}
		})
	}
}

// TestMosquittoWill kills a client, whose last will then is the device's status.
func TestMosquittoWill(t *testing.T) {
	sub := peer.Need(t, "mosquitto_sub")
	d := newDesk()
	b := start(t, broker.Config{Handler: d.handle})
	_, port, _ := net.SplitHostPort(b.Addr().String())
	cmd := exec.CommandContext(t.Context(), sub, "-h", "127.0.0.1", "-p", port, "-i", "P-1", "-t", "nothing",
		"--will-topic", "acme/site/area/line/pump/P-1/status", "--will-payload", `{"online":false}`, "--will-retain", "--will-qos", "1")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	for b.Stats().Subscribers == 0 {
		time.Sleep(5 * time.Millisecond)
	}
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
	if p := d.wait(t, 1)[0]; !p.Will || !p.Retain || string(p.Payload) != `{"online":false}` {
		t.Fatalf("%+v", p)
	}
}

func TestNpmClient(t *testing.T) {
	dir := peer.Node(t)
	each(t, func(t *testing.T, v byte) {
		b := start(t, broker.Config{Handler: func(_ broker.Publish, ack func(broker.Ack)) <-chan struct{} {
			time.AfterFunc(2*time.Millisecond, func() { ack(broker.Ack{}) }) // in any order
			return nil
		}})
		const n = 300
		out := run(t, dir, "node", "mqtt-client.mjs", "mqtt://"+b.Addr().String(), fmt.Sprint(v), telemetry, fmt.Sprint(n))
		var got struct {
			Acked    int
			Granted  int
			Received []string
		}
		if err := json.Unmarshal([]byte(out), &got); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		if got.Acked != n || got.Granted != 0 || len(got.Received) != n {
			t.Fatalf("%d acknowledged, granted QoS %d, %d received", got.Acked, got.Granted, len(got.Received))
		}
		for i, s := range got.Received {
			if s != fmt.Sprint(i) {
				t.Fatalf("message %d came back as %s", i, s)
			}
		}
	})
}

func TestPahoClient(t *testing.T) {
	d := newDesk()
	b := start(t, broker.Config{Handler: d.handle})
	conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", b.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	c := paho.NewClient(paho.ClientConfig{ClientID: "P-1", Conn: conn})
	ack, err := c.Connect(t.Context(), &paho.Connect{ClientID: "P-1", KeepAlive: 30, CleanStart: true})
	if err != nil {
		t.Fatal(err)
	}
	if ack.Properties == nil || ack.Properties.ReceiveMaximum == nil || *ack.Properties.ReceiveMaximum != 1024 {
		t.Fatalf("CONNACK %+v: expected a receive maximum of 1,024", ack.Properties)
	}
	go func() {
		d.wait(t, 1)
		d.ack(0, broker.Ack{Refused: "telemetry-P-1.0@3"})
	}()
	res, err := c.Publish(t.Context(), &paho.Publish{Topic: telemetry, QoS: 1, Payload: []byte("x")})
	if err != nil {
		t.Fatal(err)
	}
	if res.ReasonCode != 0 || res.Properties.User.Get("twinlog-refused") != "telemetry-P-1.0@3" {
		t.Fatalf("%+v", res)
	}
	if err := c.Disconnect(&paho.Disconnect{}); err != nil {
		t.Fatal(err)
	}
}
