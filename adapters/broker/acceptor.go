package broker

import (
	"errors"
	"log/slog"
	"net"
	"time"

	"github.com/mochi-mqtt/server/v2/listeners"
)

// An acceptor is mochi's listener. Unlike mochi's own it goes on after an accept
// that failed (out of file descriptors), ends connections that never say
// CONNECT, and leaves the closing of clients to Broker.shut (mochi's
// GetByListener takes its read lock twice).
type acceptor struct{ b *Broker }

const acceptPause = 50 * time.Millisecond // after a failed accept

func (a *acceptor) Init(*slog.Logger) error { return nil }
func (a *acceptor) ID() string              { return "tcp" }
func (a *acceptor) Address() string         { return a.b.Addr().String() }
func (a *acceptor) Protocol() string        { return a.b.Addr().Network() }
func (a *acceptor) Close(listeners.CloseFn) { _ = a.b.listener.Close() }

func (a *acceptor) Serve(establish listeners.EstablishFn) {
	defer a.b.serving.Done()
	for {
		conn, err := a.b.listener.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			a.b.cfg.Log.Error("mqtt: accept", slog.Any("error", err))
			time.Sleep(acceptPause)
			continue
		}
		conn = a.b.lendable(conn)
		// mochi sets its own deadline from the keep-alive once CONNECT has come.
		_ = conn.SetDeadline(time.Now().Add(a.b.cfg.ConnectWithin))
		a.b.conns.Store(conn, nil)
		if a.b.isClosing() { // shut has passed, or sees this connection
			_ = conn.Close()
		}
		a.b.serving.Go(func() {
			defer a.b.conns.Delete(conn)
			defer func() { _ = conn.Close() }()
			if err := establish(a.ID(), conn); err != nil {
				a.b.cfg.Log.Debug("mqtt: connection ended", slog.Any("error", err))
			}
		})
	}
}
