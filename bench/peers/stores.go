package main

import (
	"context"
	"database/sql"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/badger/v4/options"
	_ "github.com/mattn/go-sqlite3" // driver "sqlite3"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"github.com/twinlog/twinlog/adapters/eventlog/badgerlog"
	"github.com/twinlog/twinlog/domain/eventlog"
	"github.com/twinlog/twinlog/domain/telemetry"
)

// store takes batches of events of many writers. append returns when they are
// durable; each writer calls it from one goroutine.
type store interface {
	append(ctx context.Context, writer int, batch [][]byte) error
	close() error
}

var errStore = errors.New("no such store")

func openStore(ctx context.Context, name, dir string, writers int) (store, error) {
	switch name {
	case "twinlog":
		return openTwinlog(ctx, dir, writers)
	case "jetstream":
		return openJetStream(dir, writers)
	case "sqlite":
		return openSQLite(ctx, dir)
	case "badger":
		return openBadger(dir)
	case "fdatasync":
		return openRaw(dir)
	}
	return nil, fmt.Errorf("%q: %w", name, errStore)
}

type twinlog struct {
	log  *badgerlog.Log
	next []eventlog.Expected
}

func openTwinlog(ctx context.Context, dir string, writers int) (*twinlog, error) {
	l, err := badgerlog.Open(ctx, dir, badgerlog.Config{IDs: telemetry.DeriveID})
	t := &twinlog{log: l}
	for range writers {
		t.next = append(t.next, eventlog.NoStream)
	}
	return t, err
}

func (t *twinlog) append(ctx context.Context, w int, batch [][]byte) error {
	id := eventlog.StreamID(fmt.Sprintf("bench-%d", w))
	events := make([]eventlog.NewEvent, len(batch))
	for i, b := range batch {
		e := eventlog.NewEvent{Type: "bench.written.v1", Data: b}
		binary.BigEndian.PutUint64(e.ID[:], uint64(w)<<40|uint64(t.next[w].Next())+uint64(i)|1<<63)
		events[i] = e
	}
	a, err := t.log.Append(ctx, id, t.next[w], events...)
	t.next[w] = eventlog.At(a.Revision)
	return err
}

func (t *twinlog) close() error { return t.log.Close() }

type jetStream struct {
	server *server.Server
	conns  []*nats.Conn
	js     []nats.JetStreamContext
}

func openJetStream(dir string, writers int) (*jetStream, error) {
	s, err := server.NewServer(&server.Options{
		JetStream: true, StoreDir: dir, SyncAlways: true, DontListen: true, NoLog: true, NoSigs: true,
		JetStreamMaxMemory: 1 << 28, JetStreamMaxStore: 1 << 36,
	})
	if err != nil {
		return nil, err
	}
	s.Start()
	if !s.ReadyForConnections(20 * time.Second) {
		return nil, fmt.Errorf("jetstream: not ready: %w", errStore)
	}
	j := &jetStream{server: s}
	for range min(writers, 16) {
		c, err := nats.Connect("", nats.InProcessServer(s))
		if err != nil {
			return nil, err
		}
		js, err := c.JetStream(nats.PublishAsyncMaxPending(4096))
		if err != nil {
			return nil, err
		}
		j.conns, j.js = append(j.conns, c), append(j.js, js)
	}
	_, err = j.js[0].AddStream(&nats.StreamConfig{Name: "events", Subjects: []string{"events.>"}, Storage: nats.FileStorage})
	return j, err
}

func (j *jetStream) append(_ context.Context, w int, batch [][]byte) error {
	js, subject := j.js[w%len(j.js)], fmt.Sprintf("events.%d", w)
	if len(batch) == 1 {
		_, err := js.Publish(subject, batch[0])
		return err
	}
	acks := make([]nats.PubAckFuture, len(batch))
	for i, b := range batch {
		var err error
		if acks[i], err = js.PublishAsync(subject, b); err != nil {
			return err
		}
	}
	for _, a := range acks {
		select {
		case <-a.Ok():
		case err := <-a.Err():
			return err
		}
	}
	return nil
}

func (j *jetStream) close() error {
	for _, c := range j.conns {
		c.Close()
	}
	j.server.Shutdown()
	j.server.WaitForShutdown()
	return nil
}

// sqlite has one connection: it has one writer anyway.
type sqlite struct {
	// mu guards db and insert.
	mu     sync.Mutex
	db     *sql.DB
	insert *sql.Stmt
}

func openSQLite(ctx context.Context, dir string) (*sqlite, error) {
	db, err := sql.Open("sqlite3", "file:"+filepath.Join(dir, "events.db")+"?_journal_mode=WAL&_synchronous=FULL")
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(1)
	if _, err := db.ExecContext(ctx, `CREATE TABLE events (position INTEGER PRIMARY KEY, writer INTEGER, data BLOB)`); err != nil {
		return nil, err
	}
	insert, err := db.PrepareContext(ctx, `INSERT INTO events (writer, data) VALUES (?, ?)`)
	return &sqlite{db: db, insert: insert}, err
}

func (s *sqlite) append(ctx context.Context, w int, batch [][]byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	tx, err := s.db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	insert := tx.StmtContext(ctx, s.insert)
	for _, b := range batch {
		if _, err := insert.ExecContext(ctx, w, b); err != nil {
			return errors.Join(err, tx.Rollback())
		}
	}
	return tx.Commit()
}

func (s *sqlite) close() error { return s.db.Close() }

// naive is what one does with Badger at first: a key for each event.
type naive struct {
	db *badger.DB
	n  []uint64
}

func openBadger(dir string) (*naive, error) {
	db, err := badger.Open(badger.DefaultOptions(dir).WithSyncWrites(true).WithCompression(options.ZSTD).WithLogger(nil))
	return &naive{db, make([]uint64, 1024)}, err
}

func (n *naive) append(_ context.Context, w int, batch [][]byte) error {
	return n.db.Update(func(txn *badger.Txn) error {
		for _, b := range batch {
			key := binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint32(nil, uint32(w)), n.n[w])
			n.n[w]++
			if err := txn.Set(key, b); err != nil {
				return err
			}
		}
		return nil
	})
}

func (n *naive) close() error { return n.db.Close() }

// raw is the limit: the bytes themselves, at least 4 KiB of them, at the end
// of one file, and fdatasync.
type raw struct {
	// mu guards file and buf.
	mu   sync.Mutex
	file *os.File
	buf  []byte
}

func openRaw(dir string) (*raw, error) {
	f, err := os.Create(filepath.Join(dir, "raw"))
	return &raw{file: f}, err
}

func (r *raw) append(_ context.Context, _ int, batch [][]byte) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.buf = r.buf[:0]
	for _, b := range batch {
		r.buf = append(r.buf, b...)
	}
	for len(r.buf) < 4096 {
		r.buf = append(r.buf, 0)
	}
	if _, err := r.file.Write(r.buf); err != nil {
		return err
	}
	return syscall.Fdatasync(int(r.file.Fd()))
}

func (r *raw) close() error { return r.file.Close() }
