//go:build !linux

package broker

// Where there is no epoll, mochi's readers read all connections themselves.
type (
	pollers struct{}
	poller  struct{}
)

func newPollers() (*pollers, error) { return nil, nil }

func (*pollers) next() *poller { return nil }
func (*pollers) run()          {}
func (*pollers) close()        {}

func (*poller) lend(*conn) error  { return nil }
func (*poller) end(*conn)         {}
func (*poller) take(*conn) bool   { return false }
func (*poller) forget(*conn)      {}
func (*poller) isGone(*conn) bool { return false }
