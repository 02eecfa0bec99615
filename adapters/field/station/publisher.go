package station

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"math"
	"net/url"
	"strconv"
	"time"

	"github.com/eclipse/paho.golang/autopaho"
	"github.com/eclipse/paho.golang/paho"
	"github.com/oklog/ulid/v2"

	"github.com/twinlog/twinlog/domain/asset"
)

// published are the pumps, by index, that publish by themselves.
var published = [...]int{4, 5}

const (
	publishEvery = time.Second
	// publishWithin is how long a message may wait for its acknowledgement: the
	// next one is due, and a device without a store has nowhere to keep both.
	publishWithin = 900 * time.Millisecond
	// talkWithin bounds what is said once for each connection.
	talkWithin = 5 * time.Second
	firmware   = "3.1.4"
)

// A publisher is a pump with a controller of its own that speaks MQTT. It keeps
// nothing while the broker is away: what it could not send then is a gap in its
// numbers, as with most devices.
type publisher struct {
	station *Station
	pump    int
	plain   bool // sends plain numbers, without quality
	log     *slog.Logger
	seq     uint64
}

func (s *Station) publisher(i int) *publisher {
	return &publisher{station: s, pump: published[i], plain: i == 1, log: s.config.Log}
}

func (p *publisher) id() string { return pumpName(p.pump) }

func (p *publisher) topic(class string) string {
	return Place + "/" + pumpType + "/" + p.id() + "/" + class
}

// run publishes until ctx ends.
func (p *publisher) run(ctx context.Context) error {
	broker := &url.URL{Scheme: "mqtt", Host: p.station.broker.Addr()}
	offline, online := []byte(`{"online":false,"reason":"conn_lost"}`), []byte(`{"online":true}`)
	// The connection outlives ctx by its farewell.
	cm, err := autopaho.NewConnection(context.WithoutCancel(ctx), autopaho.ClientConfig{
		ServerUrls:       []*url.URL{broker},
		KeepAlive:        10,
		ConnectTimeout:   talkWithin,
		ReconnectBackoff: func(int) time.Duration { return time.Second },
		WillMessage:      &paho.WillMessage{Topic: p.topic("status"), Payload: offline, QoS: 1, Retain: true},
		ClientConfig:     paho.ClientConfig{ClientID: p.id()},
		OnConnectionUp: func(cm *autopaho.ConnectionManager, _ *paho.Connack) {
			ctx, cancel := context.WithTimeout(ctx, talkWithin)
			defer cancel()
			if _, err := cm.Publish(ctx, &paho.Publish{Topic: p.topic("status"), QoS: 1, Retain: true, Payload: online}); err != nil {
				p.log.LogAttrs(ctx, slog.LevelDebug, "status not published", slog.Any("error", err))
			}
		},
	})
	if err != nil {
		return fmt.Errorf("pump %s: %w", p.id(), err)
	}
	ticker := time.NewTicker(publishEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			p.farewell(ctx, cm, offline)
			return nil
		case <-ticker.C:
		}
		if err := p.publish(ctx, cm); err != nil && ctx.Err() == nil {
			p.log.LogAttrs(ctx, slog.LevelDebug, "message lost", slog.Any("error", err))
		}
	}
}

// farewell tells that it goes, and waits a moment for that to be heard.
func (p *publisher) farewell(ctx context.Context, cm *autopaho.ConnectionManager, offline []byte) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	_, _ = cm.Publish(ctx, &paho.Publish{Topic: p.topic("status"), QoS: 1, Retain: true, Payload: offline})
	_ = cm.Disconnect(ctx)
}

// publish makes and sends one message. Its number is used up either way.
func (p *publisher) publish(ctx context.Context, cm *autopaho.ConnectionManager) error {
	p.seq++
	payload, err := p.message(time.Now())
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, publishWithin)
	defer cancel()
	_, err = cm.Publish(ctx, &paho.Publish{Topic: p.topic("telemetry"), QoS: 1, Payload: payload})
	return err
}

// message is the D2C JSON of what the pump shows now.
func (p *publisher) message(now time.Time) ([]byte, error) {
	var v [8]float64
	p.station.now(func(pl *plant) { v = pl.pumpValues(p.pump) })
	d := map[string]any{}
	for k, s := range pumpSignals {
		var value any = json.RawMessage(strconv.FormatFloat(v[k], 'f', decimals(s), 64))
		if s.kind == asset.Bool {
			value = v[k] > 0
		}
		if p.plain {
			d[s.name] = value
			continue
		}
		q := 192 // OPC DA: good
		if v[k] < s.low || v[k] > s.high {
			q = 84 // uncertain, engineering units exceeded
		}
		d[s.name] = map[string]any{"v": value, "q": q}
	}
	return json.Marshal(map[string]any{
		"schema_version": "2.1", "msg_id": ulid.Make().String(), "device_id": p.id(), "device_type": pumpType,
		"ts": now.UnixMilli(), "seq": p.seq, "d": d,
		"meta": map[string]any{"fw_version": firmware, "source_ts": now.UnixMilli()},
	})
}

// decimals is how many a sensor knows: one more than its noise leaves sure.
func decimals(s signal) int {
	if s.sigma == 0 {
		return 0
	}
	return max(0, int(math.Ceil(-math.Log10(s.sigma))))
}
