package station

import (
	"io"
	"net"
	"testing"
	"time"

	"github.com/twinlog/twinlog/domain/asset"
)

func dial(t *testing.T, address string) (net.Conn, error) {
	t.Helper()
	conn, err := new(net.Dialer).DialContext(t.Context(), "tcp", address)
	if err == nil {
		t.Cleanup(func() { _ = conn.Close() })
		err = conn.SetDeadline(time.Now().Add(5 * time.Second))
	}
	return conn, err
}

func readFull(conn net.Conn, b []byte) error {
	_, err := io.ReadFull(conn, b)
	return err
}

// TestPlant: the description is a tree whose every tag is fed.
func TestPlant(t *testing.T) {
	d := Plant()
	tags := map[string]map[string]bool{}
	for _, c := range d.Classes {
		tags[c.Class] = map[string]bool{}
		for _, tag := range c.Tags {
			tags[c.Class][tag.Name] = true
			if tag.DataType != asset.Bool && (tag.Unit == "" || tag.EURange == nil || tag.EURange.Low >= tag.EURange.High ||
				tag.InstrumentRange.Low > tag.EURange.Low || tag.InstrumentRange.High < tag.EURange.High) {
				t.Errorf("%s.%s: %+v", c.Class, tag.Name, tag)
			}
		}
	}
	class := map[string]string{"": ""}
	open := map[[2]string]bool{}
	count := map[string]int{}
	for _, a := range d.Assets {
		if _, ok := class[a.Parent()]; !ok {
			t.Errorf("%s comes before its parent", a.Path)
		}
		class[a.Path] = a.Class
		count[a.Class]++
		for tag := range tags[a.Class] {
			open[[2]string{a.Path, tag}] = true
		}
	}
	if count[pumpType] != 6 || count[tankType] != 2 || count[valveType] != 1 || len(d.Assets) != 14 || len(tags[pumpType]) != 8 {
		t.Errorf("%d assets: %v", len(d.Assets), count)
	}
	for _, b := range d.Bindings {
		key := [2]string{b.Asset, b.Tag}
		if !open[key] {
			t.Errorf("%+v binds a tag that is not there, or twice", b)
		}
		delete(open, key)
	}
	if len(open) > 0 {
		t.Errorf("tags without a binding: %v", open)
	}
}
