package logurl

import (
	"errors"
	"testing"

	"github.com/twinlog/twinlog/adapters/eventlog/kurrentlog"
)

func TestServerConfig(t *testing.T) {
	for _, c := range []struct {
		text string
		want kurrentlog.Config
		bad  bool
	}{
		{text: "esdb://h:2113", want: kurrentlog.Config{Connection: "esdb://h:2113"}},
		{text: "esdb://a:1,b:2?tls=false&keepAliveInterval=5000", want: kurrentlog.Config{Connection: "esdb://a:1,b:2?tls=false&keepAliveInterval=5000"}},
		{text: "esdb://u:p%40@h?origin=site-7&tls=true&prefix=site-7~&epoch=3", want: kurrentlog.Config{
			Connection: "esdb://u:p%40@h?tls=true", Origin: "site-7", Prefix: "site-7~", Epoch: 3,
		}},
		{text: "esdb://h?origin=site-7", want: kurrentlog.Config{Connection: "esdb://h", Origin: "site-7"}},
		{text: "esdb://h?epoch=32768", bad: true},
		{text: "esdb://h?epoch=-1", bad: true},
		{text: "esdb://h?a=%zz", bad: true},
	} {
		got, err := serverConfig(c.text)
		if c.bad {
			if !errors.Is(err, ErrURL) {
				t.Errorf("%q: %+v, %v", c.text, got, err)
			}
			continue
		}
		if err != nil || got.Connection != c.want.Connection || got.Origin != c.want.Origin || got.Prefix != c.want.Prefix || got.Epoch != c.want.Epoch {
			t.Errorf("%q: %+v, %v", c.text, got, err)
		}
	}
}
