package server

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"net/url"
	"strconv"
	"strings"

	"github.com/twinlog/twinlog/cmd/logurl"
)

// Config is everything a server can be told. The zero value of a field means
// the default that its comment names.
type Config struct {
	HTTP      string // address of GraphQL, the console and metrics; 127.0.0.1:8080
	MQTT      string // address of the embedded broker, 127.0.0.1:1883; or the URL of an external one, mqtt://host:1883
	Data      string // data directory; must be given
	LogListen string // address at which the log is served over the EventStoreDB protocol; nowhere
	Log       string // "badger", the embedded log in Data; or the URL of a server's, which several servers may share (cmd/logurl)
	Operator  string // who acts where a request names nobody; nobody
	Regulated bool   // refuse to start on a log that forgets, or may have forgotten, events
	Insecure  bool   // accept addresses beyond this machine although nobody is authenticated yet
	Logger    *slog.Logger
}

// The defaults.
const (
	DefaultHTTP = "127.0.0.1:8080"
	DefaultMQTT = "127.0.0.1:1883"
	DefaultLog  = "badger"
)

// ErrConfig is returned for a configuration that cannot be run.
var ErrConfig = errors.New("invalid configuration")

// WithDefaults fills what was left out.
func (c Config) WithDefaults() Config {
	if c.HTTP == "" {
		c.HTTP = DefaultHTTP
	}
	if c.MQTT == "" {
		c.MQTT = DefaultMQTT
	}
	if c.Log == "" {
		c.Log = DefaultLog
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return c
}

// Validate reports every fault at once, each with the value and what was
// expected.
func (c Config) Validate() error {
	var faults []error
	fault := func(key string, err error) {
		if err != nil {
			faults = append(faults, fmt.Errorf("%s: %w", key, err))
		}
	}
	fault("http", CheckListen(c.HTTP, c.Insecure))
	fault("mqtt", CheckMQTT(c.MQTT, c.Insecure))
	fault("log", CheckLog(c.Log))
	if c.LogListen != "" {
		fault("log_listen", CheckListen(c.LogListen, c.Insecure))
	}
	if c.Data == "" {
		fault("data", errors.New("empty, expected a directory"))
	}
	if len(faults) > 0 {
		return fmt.Errorf("%w: %w", ErrConfig, errors.Join(faults...))
	}
	return nil
}

// CheckListen says what is wrong with an address to listen on.
func CheckListen(addr string, insecure bool) error {
	host, port, err := net.SplitHostPort(addr)
	if err != nil || port == "" {
		return fmt.Errorf("%q, expected HOST:PORT such as 127.0.0.1:8080", addr)
	}
	if _, err := strconv.ParseUint(port, 10, 16); err != nil {
		return fmt.Errorf("port %q, expected 0 to 65535", port)
	}
	if !loopback(host) && !insecure {
		return fmt.Errorf("%q is reachable from other machines and nobody is authenticated yet; expected a loopback address, or --insecure if the network is trusted", addr)
	}
	return nil
}

// CheckMQTT says what is wrong with a broker address or URL.
func CheckMQTT(addr string, insecure bool) error {
	if !strings.Contains(addr, "://") {
		return CheckListen(addr, insecure)
	}
	u, err := url.Parse(addr)
	if err != nil || u.Host == "" || (u.Scheme != "mqtt" && u.Scheme != "mqtts") {
		return fmt.Errorf("%q, expected HOST:PORT to listen on or mqtt://HOST:PORT of an external broker", addr)
	}
	return nil
}

// CheckLog says what is wrong with the name of a log backend. It repeats no URL,
// which may hold a password.
func CheckLog(log string) error {
	if log == DefaultLog {
		return nil
	}
	if !strings.Contains(log, "://") {
		return fmt.Errorf("%q, expected badger or esdb://HOST:PORT", log)
	}
	if p, err := logurl.Parse(log); err != nil || p.Server == "" {
		return fmt.Errorf("a URL that is not of a server, expected badger or esdb://HOST:PORT")
	}
	return nil
}

// shared reports whether other servers may use the log at the same time.
func (c Config) shared() bool { return c.Log != DefaultLog }

func loopback(host string) bool {
	if host == "localhost" {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.IsLoopback()
}
