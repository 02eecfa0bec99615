package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"text/tabwriter"
	"time"

	"github.com/twinlog/twinlog/cmd/gateway"
)

type outboxCommand struct {
	Stats  outboxStats  `cmd:"" help:"Say what each lane holds."`
	List   outboxList   `cmd:"" help:"List what the server refused."`
	Retry  outboxRetry  `cmd:"" help:"Send refused messages again, under new numbers."`
	Export outboxExport `cmd:"" help:"Write refused messages as NDJSON, one for each line."`
}

// Help is the manual of outbox.
func (outboxCommand) Help() string {
	return `Asks the gateway that runs in DIR, or opens its outbox if none runs. Lanes are "live",
"alarms", "backlog", "backlog-low" and "backlog-high". What the server refused is in its log with
every byte (telemetry.refused); the copy here is for mending and sending again, and the last 1,000
of each lane are kept.`
}

type outboxPlace struct {
	Config string `required:"" type:"path" placeholder:"FILE" help:"The configuration, in YAML."`
	Data   string `required:"" type:"path" placeholder:"DIR" help:"Where the outbox is kept."`
}

func (p outboxPlace) with(ctx context.Context, do func(*gateway.StoreClient) error) error {
	config, err := load(p.Config)
	if err != nil {
		return err
	}
	c, err := gateway.OpenStoreClient(ctx, config, p.Data)
	if err != nil {
		return err
	}
	return errors.Join(do(c), c.Close())
}

// laneWord is what people call a lane.
func laneWord(lane string) string {
	if lane == "" {
		return "live"
	}
	return lane
}

func laneOf(word string) string {
	if word == "live" {
		return ""
	}
	return word
}

type outboxStats struct{ outboxPlace }

// Run prints the counters.
func (c outboxStats) Run(ctx context.Context, std streams) error {
	return c.with(ctx, func(s *gateway.StoreClient) error {
		all, err := s.Stats(ctx)
		if err != nil {
			return err
		}
		w := tabwriter.NewWriter(std.out, 0, 0, 2, ' ', tabwriter.AlignRight)
		fmt.Fprintln(w, "lane\taccepted\tacked\twaiting\tbytes\tage\tlost\tlost samples\trefused\tlinked\t")
		for _, l := range all {
			fmt.Fprintf(w, "%s\t%d\t%d\t%d\t%d\t%v\t%d\t%d\t%d\t%v\t\n", laneWord(l.Lane), l.Accepted, l.Acked, l.Depth, l.Bytes,
				l.Age.Round(time.Second), l.Lost, l.LostSamples, l.Quarantined, l.Linked)
		}
		return w.Flush()
	})
}

// each visits the refused messages of one lane, or of all.
func each(ctx context.Context, s *gateway.StoreClient, word string, visit func(lane string, r refused) error) error {
	all, err := s.Stats(ctx)
	if err != nil {
		return err
	}
	for _, l := range all {
		if word != "" && l.Lane != laneOf(word) {
			continue
		}
		for after := uint64(0); ; {
			page, err := s.Refused(ctx, l.Lane, after)
			if err != nil {
				return err
			}
			if len(page) == 0 {
				break
			}
			for _, r := range page {
				after = r.Seq
				payload := json.RawMessage(r.Payload)
				if !json.Valid(payload) {
					payload, _ = json.Marshal(string(r.Payload))
				}
				if err := visit(l.Lane, refused{laneWord(l.Lane), r.Seq, r.Where, r.At, r.Made, r.Topic, payload}); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// refused is a line of export.
type refused struct {
	Lane    string          `json:"lane"`
	Seq     uint64          `json:"seq"`
	Where   string          `json:"refused"`
	At      time.Time       `json:"at"`
	Made    time.Time       `json:"made"`
	Topic   string          `json:"topic"`
	Payload json.RawMessage `json:"payload"`
}

type outboxList struct {
	outboxPlace
	Lane string `help:"Only this lane."`
}

// Run lists the quarantine.
func (c outboxList) Run(ctx context.Context, std streams) error {
	return c.with(ctx, func(s *gateway.StoreClient) error {
		w := tabwriter.NewWriter(std.out, 0, 0, 2, ' ', 0)
		fmt.Fprintln(w, "lane\tseq\tat\tin the server's log\ttopic")
		err := each(ctx, s, c.Lane, func(_ string, r refused) error {
			_, err := fmt.Fprintf(w, "%s\t%d\t%s\t%s\t%s\n", r.Lane, r.Seq, r.At.Format(time.RFC3339), r.Where, r.Topic)
			return err
		})
		return errors.Join(err, w.Flush())
	})
}

type outboxExport struct {
	outboxPlace
	Lane string `help:"Only this lane."`
}

// Run writes the quarantine.
func (c outboxExport) Run(ctx context.Context, std streams) error {
	return c.with(ctx, func(s *gateway.StoreClient) error {
		out := json.NewEncoder(std.out)
		return each(ctx, s, c.Lane, func(_ string, r refused) error { return out.Encode(r) })
	})
}

type outboxRetry struct {
	outboxPlace
	Lane string   `default:"live" help:"The lane."`
	Seqs []uint64 `arg:"" optional:"" name:"seq" help:"The messages' numbers, as list shows them; none: all of the lane."`
}

// Run sends again.
func (c outboxRetry) Run(ctx context.Context, std streams) error {
	return c.with(ctx, func(s *gateway.StoreClient) error {
		seqs := c.Seqs
		if len(seqs) == 0 {
			err := each(ctx, s, c.Lane, func(_ string, r refused) error { seqs = append(seqs, r.Seq); return nil })
			if err != nil {
				return err
			}
		}
		for _, seq := range seqs {
			n, err := s.Retry(ctx, laneOf(c.Lane), seq)
			if err != nil {
				return err
			}
			fmt.Fprintf(std.out, "%s %d is sent again as %d\n", c.Lane, seq, n)
		}
		return nil
	})
}
