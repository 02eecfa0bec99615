package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/twinlog/twinlog/bench/mqttload"
	"github.com/twinlog/twinlog/bench/proc"
)

// shape is one way of publishing; every server is measured with each.
type shape struct {
	name              string
	clients, inFlight int
}

var shapes = []shape{
	{"4 publishers x 1,024 in flight", 4, 1024},
	{"1,000 clients x 1 in flight", 1000, 1},
}

const (
	samplesPerMessage = 10
	runFor            = 8 * time.Second
	rounds            = 3
)

// subject is a server that takes the load.
type subject struct {
	name  string
	start func(ctx context.Context, dir, addr string) (*child, error)
}

// ingest measures every server with every shape, in turn and several times, so
// that a machine whose speed drifts is unfair to nobody.
func ingest(ctx context.Context) error {
	tmp, err := os.MkdirTemp("", "twinlog-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(tmp) //nolint:errcheck // temporary
	bin, err := build(ctx, tmp)
	if err != nil {
		return err
	}
	subjects := []subject{
		{"twinlog", func(ctx context.Context, dir, addr string) (*child, error) {
			http, err := freePort()
			if err != nil {
				return nil, err
			}
			return start(ctx, addr, bin, "serve", "--data", dir, "--mqtt", addr, "--http", http)
		}},
		{"bare broker", func(ctx context.Context, _, addr string) (*child, error) {
			self, err := os.Executable()
			if err != nil {
				return nil, err
			}
			return start(ctx, addr, self, bareRole, addr)
		}},
		{"mosquitto", startMosquitto},
	}
	fmt.Printf("%-32s %-12s %10s %12s %12s %10s %10s\n", "shape", "server", "msg/s", "samples/s", "CPU/sample", "B/sample", "RssAnon")
	for _, sh := range shapes {
		rate := map[string][]float64{}
		for round := range rounds {
			for _, s := range subjects {
				r, err := measure(ctx, s, sh, filepath.Join(tmp, fmt.Sprintf("%s-%d-%d", s.name[:4], sh.clients, round)))
				if err != nil {
					if errors.Is(err, exec.ErrNotFound) {
						fmt.Printf("%-32s %-12s not installed here\n", sh.name, s.name)
						continue
					}
					return fmt.Errorf("%s, %s: %w", s.name, sh.name, err)
				}
				rate[s.name] = append(rate[s.name], r)
			}
		}
		ours := median(rate["twinlog"])
		fmt.Printf("-> %s: %.2f x bare broker, %.2f x mosquitto (medians of %d)\n", sh.name,
			ours/median(rate["bare broker"]), ours/median(rate["mosquitto"]), rounds)
	}
	return steady(ctx, bin, filepath.Join(tmp, "steady"))
}

func measure(ctx context.Context, s subject, sh shape, dir string) (float64, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return 0, err
	}
	addr, err := freePort()
	if err != nil {
		return 0, err
	}
	c, err := s.start(ctx, dir, addr)
	if err != nil {
		return 0, err
	}
	defer c.stop()
	before, err := proc.CPU(c.pid())
	if err != nil {
		return 0, err
	}
	bounded, cancel := context.WithTimeout(ctx, runFor)
	defer cancel()
	load := mqttload.Load{Addr: addr, Clients: sh.clients, InFlight: sh.inFlight, Samples: samplesPerMessage, Name: "bench"}
	r, err := load.Run(bounded)
	if err != nil {
		return 0, err
	}
	after, err := proc.CPU(c.pid())
	if err != nil {
		return 0, err
	}
	anon, err := proc.RssAnon(c.pid())
	if err != nil {
		return 0, err
	}
	disk, err := diskUse(dir)
	if err != nil {
		return 0, err
	}
	fmt.Printf("%-32s %-12s %10.0f %12.0f %9.0f ns %10.2f %7.0f MB\n", sh.name, s.name, r.PerSecond(), float64(r.Samples)/r.Elapsed.Seconds(),
		float64(after-before)/float64(r.Samples), float64(disk)/float64(r.Samples), float64(anon)/1e6)
	return r.PerSecond(), nil
}

func startMosquitto(ctx context.Context, dir, addr string) (*child, error) {
	program, err := mosquittoPath()
	if err != nil {
		return nil, err
	}
	conf := filepath.Join(dir, "mosquitto.conf")
	port := addr[len("127.0.0.1:"):]
	text := "listener " + port + " 127.0.0.1\nallow_anonymous true\nlog_type none\nmax_inflight_messages 0\n"
	if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
		return nil, err
	}
	return start(ctx, addr, program, "-c", conf)
}

func median(v []float64) float64 {
	if len(v) == 0 {
		return 0
	}
	s := append([]float64(nil), v...)
	for i := range s { // three values: insertion sort says it all
		for j := i; j > 0 && s[j] < s[j-1]; j-- {
			s[j], s[j-1] = s[j-1], s[j]
		}
	}
	return s[len(s)/2]
}
