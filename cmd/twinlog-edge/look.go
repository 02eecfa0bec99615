package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"os"
	"path/filepath"
	"sort"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/twinlog/twinlog/adapters/field/opcua"
	"github.com/twinlog/twinlog/cmd/gateway"
	"github.com/twinlog/twinlog/domain/quality"
	"github.com/twinlog/twinlog/domain/telemetry"
	"github.com/twinlog/twinlog/edge"
	"github.com/twinlog/twinlog/edge/acquire"
)

type readCommand struct {
	Config string        `required:"" type:"path" placeholder:"FILE" help:"The configuration, in YAML."`
	Tag    string        `arg:"" help:"DEVICE/TAG."`
	Within time.Duration `default:"10s" help:"How long to wait for a value."`
}

// Help is the manual of read.
func (readCommand) Help() string {
	return `Connects to the tag's source, reads it once and prints its value in engineering units, its
quality and its time. Nothing is sent. Exits with 1 if the value is Bad or nothing came.`
}

// Run reads one tag.
func (c readCommand) Run(ctx context.Context, std streams) error {
	config, err := load(c.Config)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, c.Within)
	defer cancel()
	only, err := pick(config, []string{c.Tag})
	if err != nil {
		return err
	}
	var code quality.Code
	heard := false
	err = watch(ctx, only, func(m edge.Message, s telemetry.Sample) bool {
		printSample(std.out, m, s)
		code, heard = s.Quality.Code, true
		return false
	})
	switch {
	case !heard:
		return fmt.Errorf("%s: nothing came within %v: %w", c.Tag, c.Within, err)
	case code.Status() == quality.IsBad:
		return fmt.Errorf("%s is %v", c.Tag, code)
	}
	return nil
}

type watchCommand struct {
	Config string   `required:"" type:"path" placeholder:"FILE" help:"The configuration, in YAML."`
	Tags   []string `arg:"" optional:"" help:"DEVICE/TAG, as many as you like; all without any."`
}

// Help is the manual of watch.
func (watchCommand) Help() string {
	return `Reads the sources as run does and prints each sample that the deadband lets through, until it
is interrupted. Nothing is sent and nothing is kept, so it may run beside the gateway.`
}

// Run prints what the sources say.
func (c watchCommand) Run(ctx context.Context, std streams) error {
	config, err := load(c.Config)
	if err != nil {
		return err
	}
	if config, err = pick(config, c.Tags); err != nil {
		return err
	}
	return watch(ctx, config, func(m edge.Message, s telemetry.Sample) bool {
		printSample(std.out, m, s)
		return true
	})
}

func printSample(w io.Writer, m edge.Message, s telemetry.Sample) {
	fmt.Fprintf(w, "%s  %s/%s  %s  %v\n", m.Row.SourceTime.Format("2006-01-02T15:04:05.000Z"), m.Row.Device, s.Signal, text(s.Value), s.Quality.Code)
}

// text is a value as people read it.
func text(v telemetry.Value) string {
	switch v.Kind {
	case telemetry.Float64:
		return strconv.FormatFloat(math.Float64frombits(v.Bits), 'g', -1, 64)
	case telemetry.Int64:
		return strconv.FormatInt(int64(v.Bits), 10) //nolint:gosec // two's complement
	case telemetry.Bool:
		return strconv.FormatBool(v.Bits == 1)
	case telemetry.String:
		return strconv.Quote(v.Str)
	case telemetry.Null:
	}
	return "-"
}

// pick leaves only the named tags, or all for none.
func pick(c gateway.Config, tags []string) (gateway.Config, error) {
	if len(tags) == 0 {
		return c, nil
	}
	want := map[string]bool{}
	for _, t := range tags {
		want[t] = true
	}
	var out []gateway.Source
	for _, s := range c.Sources {
		kept := s
		kept.Items, kept.Tags = nil, nil
		for i, tag := range s.Tags {
			name := s.Devices[tag.Device].ID + "/" + tag.Signal
			if want[name] {
				kept.Items, kept.Tags = append(kept.Items, s.Items[i]), append(kept.Tags, tag)
				delete(want, name)
			}
		}
		if len(kept.Tags) > 0 {
			out = append(out, kept)
		}
	}
	for name := range want {
		return c, fmt.Errorf("%q is no tag of the configuration, expected DEVICE/TAG", name)
	}
	c.Sources = out
	return c, nil
}

// errSeen ends a watch that has seen enough.
var errSeen = errors.New("seen")

// watch runs the pipelines until ctx ends or see returns false.
func watch(ctx context.Context, c gateway.Config, see func(edge.Message, telemetry.Sample) bool) error {
	log := slog.New(slog.DiscardHandler)
	pipelines, err := c.Pipelines(log)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	g, err := edge.New(&looker{see: see, enough: func() { cancel(errSeen) }}, log, pipelines)
	if err != nil {
		return err
	}
	err = g.Run(ctx)
	if errors.Is(context.Cause(ctx), errSeen) {
		return nil
	}
	return err
}

// A looker is a sink that keeps nothing.
type looker struct {
	mu     sync.Mutex // pipelines put at the same time
	see    func(edge.Message, telemetry.Sample) bool
	enough func()
	done   bool
}

// Put shows messages.
func (l *looker) Put(_ context.Context, messages ...edge.Message) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, m := range messages {
		for _, s := range m.Row.Samples {
			if !l.done && !l.see(m, s) {
				l.done = true
				l.enough()
			}
		}
	}
	return nil
}

type browseCommand struct {
	Config string `required:"" type:"path" placeholder:"FILE" help:"The configuration, in YAML."`
	Source string `arg:"" help:"The source's name."`
	From   string `placeholder:"NODE" help:"Where to begin; without it at the top."`
}

// Help is the manual of browse.
func (browseCommand) Help() string {
	return `Shows what the device behind a source offers, as tags in YAML: to be pasted under the tags of a
device. Folders and machines are comments.`
}

// Run browses a source.
func (c browseCommand) Run(ctx context.Context, std streams) error {
	config, err := load(c.Config)
	if err != nil {
		return err
	}
	for _, s := range config.Sources {
		if s.Name != c.Source {
			continue
		}
		ports, err := s.Open(slog.New(slog.DiscardHandler))
		if err != nil {
			return err
		}
		if ports.Browser == nil {
			return fmt.Errorf("source %s: %s devices do not say what they have", s.Name, s.Protocol.Title)
		}
		return ports.Browser.Browse(ctx, c.From, func(n acquire.Node) error {
			_, err := io.WriteString(std.out, yamlOf(n))
			return err
		})
	}
	return fmt.Errorf("%q is no source of the configuration", c.Source)
}

// yamlOf is a node as a tag of the configuration, or as a comment.
func yamlOf(n acquire.Node) string {
	if n.Tag == nil {
		return fmt.Sprintf("# %s (%s)\n", n.Name, n.ID)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "- {name: %s", strconv.Quote(n.Name))
	keys := make([]string, 0, len(n.Tag))
	for k := range n.Tag {
		keys = append(keys, k)
	}
	sort.Strings(keys)
	for _, k := range keys {
		fmt.Fprintf(&b, ", %s: %s", k, strconv.Quote(n.Tag[k]))
	}
	if n.Ranged && n.Low < n.High {
		fmt.Fprintf(&b, ", range: [%v, %v]", n.Low, n.High)
	}
	b.WriteString("} # " + n.Type)
	if n.Unit != "" {
		b.WriteString(", " + n.Unit)
	}
	if n.Writable {
		b.WriteString(", writable")
	}
	return b.String() + "\n"
}

type schemaCommand struct{}

// Run prints the JSON Schema of the configuration.
func (schemaCommand) Run(std streams) error {
	_, err := std.out.Write(gateway.Standard.Schema())
	return err
}

type certificateCommand struct {
	Out  string   `required:"" type:"path" placeholder:"DIR" help:"Where gateway.pem and gateway.key are written."`
	URI  string   `default:"urn:twinlog:gateway" help:"What the gateway calls itself."`
	Host []string `help:"Its names and addresses, as many as it has."`
}

// Help is the manual of certificate.
func (certificateCommand) Help() string {
	return `Makes a self-signed certificate of the gateway for OPC UA servers, valid for ten years, and its
key. Files that are there are not touched. The servers have to be told to accept it.`
}

// Run makes a certificate.
func (c certificateCommand) Run(std streams) error {
	certificate, key, err := opcua.NewCertificate(c.URI, c.Host, time.Now())
	if err != nil {
		return err
	}
	for name, b := range map[string][]byte{"gateway.key": key, "gateway.pem": certificate} {
		f, err := os.OpenFile(filepath.Join(c.Out, name), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
		if err != nil {
			return err
		}
		_, err = f.Write(b)
		if err := errors.Join(err, f.Close()); err != nil {
			return err
		}
		fmt.Fprintln(std.out, filepath.Join(c.Out, name))
	}
	return nil
}
