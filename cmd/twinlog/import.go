package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"

	"github.com/twinlog/twinlog/adapters/eventlog/badgerlog"
	"github.com/twinlog/twinlog/cmd/importer"
	"github.com/twinlog/twinlog/cmd/server"
)

type importCommand struct {
	Assets  importAssets  `cmd:"" help:"Assets from CSV (path, level, class, nameplate.*) or JSON (a tree)."`
	Samples importSamples `cmd:"" help:"Samples from CSV (a column of times, the others signals; or time, signal, value, quality) or NDJSON."`
}

// importFlags are common to both.
type importFlags struct {
	File     string `arg:"" type:"existingfile" help:"The file; its ending says what it is."`
	Data     string `name:"data" xor:"where" placeholder:"DIR" help:"Data directory of a server that is not running (as serve's)."`
	Server   string `name:"server" xor:"where" placeholder:"URL" help:"Import through a running server, such as http://127.0.0.1:8080."`
	Operator string `name:"operator" placeholder:"NAME" help:"Who imports. The name is stored encrypted."`
	DryRun   bool   `name:"dry-run" help:"Read and report, store nothing."`
	Rejects  string `name:"rejects" placeholder:"FILE" help:"Write what was refused to FILE, a JSON object a line."`
}

type importAssets struct{ importFlags }

// Run imports.
func (c importAssets) Run(ctx context.Context, std streams) error {
	return c.run(ctx, std, importer.WhatAssets, importer.Options{})
}

type importSamples struct {
	importFlags
	Device     string            `name:"device" placeholder:"NAME" help:"Device that measured, where no column says."`
	DeviceType string            `name:"device-type" placeholder:"TYPE" help:"Its type."`
	Time       string            `name:"time" placeholder:"COLUMN" help:"Column of times (found by its name, else the first)."`
	TimeFormat string            `name:"time-format" placeholder:"LAYOUT" help:"Go layout of the times, e.g. '02/01/06 15:04' (the usual forms are known)."`
	Zone       string            `name:"zone" placeholder:"ZONE" help:"IANA zone of times without one, e.g. Europe/Berlin (UTC)."`
	Comma      bool              `name:"decimal-comma" help:"Read 1,5 as one and a half."`
	Map        map[string]string `name:"map" mapsep:"none" placeholder:"COLUMN=SIGNAL" help:"Another name for a column's signal; may be repeated."`
	Skip       []string          `name:"skip" sep:"none" placeholder:"COLUMN" help:"A column to leave out; may be repeated."`
	NoBind     bool              `name:"no-bind" help:"Do not make an asset imported/DEVICE whose tags show the signals."`
}

// Help is shown by twinlog import samples --help.
func (importSamples) Help() string {
	return `Wide files become one row a line, long ones one sample a line; docs/import.md
shows each form.

  twinlog import samples pump.csv --device P-7 --zone Europe/Berlin
  twinlog import samples export.ndjson --server http://127.0.0.1:8080

A row that is in the log already is not stored again, whatever its file is
called: stop and start as you like. Then ask for imported/DEVICE/SIGNAL.`
}

// Run imports.
func (c importSamples) Run(ctx context.Context, std streams) error {
	return c.run(ctx, std, importer.WhatSamples, importer.Options{
		Device: c.Device, DeviceType: c.DeviceType, Time: c.Time, TimeFormat: c.TimeFormat,
		Zone: c.Zone, DecimalComma: c.Comma, Map: c.Map, Skip: c.Skip, NoBind: c.NoBind,
	})
}

func (f importFlags) run(ctx context.Context, std streams, what string, o importer.Options) error {
	o.Name, o.DryRun, o.Operator = filepath.Base(f.File), f.DryRun, f.Operator
	o.Format = strings.ToLower(strings.TrimPrefix(filepath.Ext(f.File), "."))
	file, err := os.Open(f.File)
	if err != nil {
		return err
	}
	defer file.Close() //nolint:errcheck // it was only read
	hooks, finish, err := f.report(file, std)
	if err != nil {
		return err
	}
	done, err := f.do(ctx, what, file, o, hooks)
	err = errors.Join(err, finish())
	if errors.Is(err, context.Canceled) && ctx.Err() != nil {
		return fmt.Errorf("%s: interrupted after %d rows; the same command goes on from there", o.Name, done.Rows)
	}
	if err != nil {
		return err
	}
	verb := "stored"
	if f.DryRun {
		verb = "would be stored"
	}
	fmt.Fprintf(std.out, "%s: %d rows, %d %s, %d known already, %d refused\n", o.Name, done.Rows, done.Stored, verb, done.Known, done.Faults)
	switch {
	case done.Faults > 0 && f.DryRun:
		return fmt.Errorf("%s: %d rows would be refused", o.Name, done.Faults)
	case done.Faults > 0:
		return fmt.Errorf("%s: %d rows were refused, the others are in", o.Name, done.Faults)
	}
	return nil
}

// do imports here or there.
func (f importFlags) do(ctx context.Context, what string, file io.Reader, o importer.Options, hooks importer.Hooks) (importer.Progress, error) {
	if f.Server != "" {
		return importer.There(ctx, f.Server, what, file, o, hooks)
	}
	data := f.Data
	if data == "" {
		var err error
		if data, err = dataHome("plant"); err != nil {
			return importer.Progress{}, err
		}
	}
	log, err := server.OpenLog(ctx, data, slog.New(slog.DiscardHandler))
	if errors.Is(err, badgerlog.ErrLocked) {
		return importer.Progress{}, fmt.Errorf("%w; a server is running: import through it with --server http://ADDR", err)
	}
	if err != nil {
		return importer.Progress{}, err
	}
	who, err := server.Who(ctx, data, log)
	if err != nil {
		return importer.Progress{}, errors.Join(err, log.Close())
	}
	actor, err := who(ctx, o.Operator)
	if err != nil {
		return importer.Progress{}, errors.Join(err, log.Close())
	}
	done, err := importer.Here(ctx, what, importer.Log{Log: log, Actor: actor}, file, o, hooks)
	return done, errors.Join(err, log.Close())
}

// shownFaults bounds what is printed; all are in the file of rejects.
const shownFaults = 20

// report returns hooks that tell a person, and what ends them.
func (f importFlags) report(file *os.File, std streams) (importer.Hooks, func() error, error) {
	info, err := file.Stat()
	if err != nil {
		return importer.Hooks{}, nil, err
	}
	var rejects *os.File
	if f.Rejects != "" {
		if rejects, err = os.Create(f.Rejects); err != nil {
			return importer.Hooks{}, nil, err
		}
	}
	name := filepath.Base(f.File)
	bar := newMeter(name, info.Size(), std.err)
	var writing error
	shown := 0
	hooks := importer.Hooks{
		Progress: bar.progress,
		Fault: func(fault importer.Fault) {
			if shown++; shown <= shownFaults {
				bar.aside("%s: %v\n", name, fault)
			} else if shown == shownFaults+1 {
				bar.aside("… more of them: --rejects FILE keeps all\n")
			}
			if rejects != nil && writing == nil {
				writing = json.NewEncoder(rejects).Encode(fault)
			}
		},
	}
	return hooks, func() error {
		bar.finish()
		if rejects != nil {
			writing = errors.Join(writing, rejects.Close())
		}
		return writing
	}, nil
}
