package importer

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/twinlog/twinlog/domain/asset"
	"github.com/twinlog/twinlog/domain/eventlog"
)

// Imported is the enterprise under which every imported device has an asset of
// its own name, whose tags show its signals: what was imported can be asked for
// at once. Bind the signals to the plant's own assets later.
const Imported = "imported"

// always is from when imported signals feed their tags: before any sample.
var always = time.Date(firstYear, 1, 1, 0, 0, 0, 0, time.UTC)

// bind makes the asset and the tags of a device. Every id derives from names,
// so a second import finds them.
func (im *samples) bind(ctx context.Context, name string, signals []string) error {
	svc := asset.NewService(im.log)
	call := func(mutation, key string) eventlog.Call {
		return eventlog.Call{Key: eventlog.NewKey(im.log.Origin(), "import", mutation, key), Envelope: eventlog.Envelope{Actor: im.log.Actor}}
	}
	root, pump := call("registerAsset", Imported), call("registerAsset", fmt.Sprintf("%s/%q", Imported, name))
	items := []eventlog.Item[asset.Command]{
		{Call: root, Command: asset.Register{Asset: root.Key.Entity(0), Name: Imported, Level: asset.Enterprise, Effective: always}},
		{Call: pump, Command: asset.Register{Asset: pump.Key.Entity(0), Name: segment(name), Level: asset.Equipment, Parent: root.Key.Entity(0), Effective: always}},
	}
	for _, signal := range signals {
		items = append(items, eventlog.Item[asset.Command]{
			Call:    call("bindTag", fmt.Sprintf("%s/%q/%q", Imported, name, signal)),
			Command: asset.BindTag{Asset: pump.Key.Entity(0), Tag: segment(signal), Device: name, Signal: signal, Effective: always},
		})
	}
	results, err := svc.DoAll(ctx, items)
	if err != nil {
		return fmt.Errorf("assets of %s: %w", name, err)
	}
	var faults []error
	for i, r := range results {
		if r.Err != nil {
			faults = append(faults, fmt.Errorf("%+v: %w", items[i].Command, r.Err))
		}
	}
	if len(faults) > 0 {
		return fmt.Errorf("the samples are stored, but no tags show them (--no-bind leaves this out): %w", errors.Join(faults...))
	}
	return nil
}

// longest is what a segment of a path may have.
const longest = 120

// segment makes a segment of a path from a name: what it cannot hold is
// percent-encoded, and one that is too long ends with its hash.
func segment(name string) string {
	var b strings.Builder
	for _, r := range name {
		if r == '/' || unicode.IsControl(r) {
			for _, c := range []byte(string(r)) {
				fmt.Fprintf(&b, "%%%02X", c)
			}
			continue
		}
		b.WriteRune(r)
	}
	text := strings.TrimSpace(b.String())
	if len(text) <= longest {
		return text
	}
	sum := sha256.Sum256([]byte(name))
	end := fmt.Sprintf("~%x", sum[:4])
	cut := longest - len(end)
	for !utf8.RuneStart(text[cut]) {
		cut--
	}
	return text[:cut] + end
}
