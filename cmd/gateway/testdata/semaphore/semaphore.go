// Package semaphore is a protocol that does not exist. It speaks by itself, has
// a time and a quality of its own, and tells after a loss what it had kept: a
// test adds it to the gateway by this folder and one line.
package semaphore

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/twinlog/twinlog/domain/quality"
	"github.com/twinlog/twinlog/domain/telemetry"
	"github.com/twinlog/twinlog/edge/acquire"
	"github.com/twinlog/twinlog/edge/protocol"
)

// Protocol is semaphore for the gateway.
var Protocol = protocol.Protocol{
	Name: "semaphore", Title: "Semaphore", Reports: true,
	Keys: []protocol.Key{
		{Name: "address", In: protocol.Source, Kind: protocol.HostPort, Need: true, Help: "host:port of the tower."},
		{Name: "flag", In: protocol.Tag, Kind: protocol.Int, Low: 0, High: 99, Need: true, Help: "The flag's number."},
	},
	Open: func(c protocol.Connection) (protocol.Ports, error) {
		t := tower{address: c.Settings.Text("address"), items: map[int]int{}}
		for i, tag := range c.Tags {
			t.items[tag.Int("flag")] = i
		}
		return protocol.Ports{Reporting: t}, nil
	},
}

type tower struct {
	address string
	items   map[int]int // by flag
}

// Report reads lines "CAUSE FLAG MILLISECONDS VALUE" until the tower hangs up:
// cause now, kept (while nobody listened) or state; value - is a broken flag.
func (t tower) Report(ctx context.Context, hear func([]acquire.Reading)) error {
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", t.address)
	if err != nil {
		return err
	}
	defer conn.Close() //nolint:errcheck // nothing is ever written
	defer context.AfterFunc(ctx, func() { _ = conn.Close() })()
	for lines := bufio.NewScanner(conn); lines.Scan(); {
		words := strings.Fields(lines.Text())
		if len(words) != 4 {
			return fmt.Errorf("%q, expected four words", lines.Text())
		}
		flag, _ := strconv.Atoi(words[1])
		ms, _ := strconv.ParseInt(words[2], 10, 64)
		item, ok := t.items[flag]
		if !ok {
			continue
		}
		r := acquire.Reading{
			Item: item, SourceTime: time.UnixMilli(ms).UTC(), Quality: quality.Of(quality.BadSensorFailure),
			Cause: map[string]acquire.Cause{"now": acquire.Current, "kept": acquire.Historic, "state": acquire.Snapshot}[words[0]],
		}
		if x, err := strconv.ParseFloat(words[3], 64); err == nil {
			r.Value, r.Quality = telemetry.FloatValue(x), quality.Of(quality.Good)
		}
		hear([]acquire.Reading{r})
	}
	return fmt.Errorf("semaphore %s: the tower has hung up", t.address)
}
