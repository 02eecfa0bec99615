package opcua

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/gopcua/opcua"
	"github.com/gopcua/opcua/ua"
)

// sessionTimeout is how long a server keeps a session, and the subscriptions in
// it, for a client that has gone. The server may give less.
const sessionTimeout = time.Hour

// connect opens a secure channel and a session.
func (s *Source) connect(ctx context.Context) (c *opcua.Client, err error) {
	url, timeout := s.settings.Text("url"), s.settings.Duration("timeout")
	defer func() {
		// The library does not check what a server's bad signature leaves behind.
		if p := recover(); p != nil {
			c, err = nil, fmt.Errorf("opcua %s: the server's part of the session is invalid: %v", url, p)
		}
		if err != nil {
			err = fmt.Errorf("opcua %s: %w", url, err)
		}
	}()
	ctx, cancel := context.WithTimeout(ctx, 4*timeout)
	defer cancel()
	endpoints, err := opcua.GetEndpoints(ctx, url, opcua.RequestTimeout(timeout), opcua.DialTimeout(timeout), opcua.AutoReconnect(false))
	if err != nil {
		return nil, err
	}
	endpoint, err := s.choose(endpoints)
	if err != nil {
		return nil, err
	}
	options, err := s.options(endpoint)
	if err != nil {
		return nil, err
	}
	options = append(options,
		opcua.RequestTimeout(timeout+s.keepAlive()), opcua.DialTimeout(timeout), opcua.AutoReconnect(false),
		opcua.SessionTimeout(sessionTimeout), opcua.SessionName("twinlog "+s.name),
		opcua.ApplicationName("twinlog gateway"), opcua.ProductURI("urn:twinlog:gateway"))
	// The url of the configuration, not the endpoint's own: behind a router
	// servers call themselves by a name that nobody here can reach.
	c, err = opcua.NewClient(url, options...)
	if err != nil {
		return nil, err
	}
	if err := c.Connect(ctx); err != nil {
		return nil, explain(err)
	}
	return c, nil
}

// choose returns the endpoint with the policy and mode of the configuration.
func (s *Source) choose(endpoints []*ua.EndpointDescription) (*ua.EndpointDescription, error) {
	policy, mode := s.settings.Text("security"), s.settings.Text("mode")
	var offered []string
	for _, e := range endpoints {
		none := policy == "none" && e.SecurityMode == ua.MessageSecurityModeNone
		if e.SecurityPolicyURI == policies[policy] && (none || modeName(e.SecurityMode) == mode) {
			return e, nil
		}
		offered = append(offered, policyName(e.SecurityPolicyURI)+" "+modeName(e.SecurityMode))
	}
	if policy == "none" {
		mode = ""
	}
	return nil, fmt.Errorf("no endpoint with security %s %s, the server offers %q", policy, mode, offered)
}

// options are security and login. Files are read at each attempt, so that a
// renewed certificate needs no restart.
func (s *Source) options(e *ua.EndpointDescription) ([]opcua.Option, error) {
	var options []opcua.Option
	token := ua.UserTokenTypeAnonymous
	if s.settings.Text("security") != "none" {
		if err := trust(s.settings.Texts("trust"), e.ServerCertificate, time.Now()); err != nil {
			return nil, err
		}
		certificate, err := readCertificate(s.settings.Text("certificate"))
		if err != nil {
			return nil, fmt.Errorf("certificate: %w", err)
		}
		key, err := readKey(s.settings.Text("key"))
		if err != nil {
			return nil, fmt.Errorf("key: %w", err)
		}
		options = append(options, opcua.Certificate(certificate), opcua.PrivateKey(key), opcua.ApplicationURI(uriOf(certificate)))
	}
	switch {
	case s.settings.Given("user"):
		password, err := os.ReadFile(s.settings.Text("password_file"))
		if err != nil {
			return nil, fmt.Errorf("password: %w", err)
		}
		token = ua.UserTokenTypeUserName
		options = append(options, opcua.AuthUsername(s.settings.Text("user"), string(bytes.TrimRight(password, "\r\n"))))
	case s.settings.Given("user_certificate"):
		certificate, err := readCertificate(s.settings.Text("user_certificate"))
		if err != nil {
			return nil, fmt.Errorf("user_certificate: %w", err)
		}
		key, err := readKey(s.settings.Text("user_key"))
		if err != nil {
			return nil, fmt.Errorf("user_key: %w", err)
		}
		token = ua.UserTokenTypeCertificate
		options = append(options, opcua.AuthCertificate(certificate), opcua.AuthPrivateKey(key))
	default:
		options = append(options, opcua.AuthAnonymous())
	}
	return append(options, opcua.SecurityFromEndpoint(e, token)), nil
}

// explain says what people can do about the refusals that they meet first.
func explain(err error) error {
	status, ok := errors.AsType[ua.StatusCode](err)
	if !ok {
		return err
	}
	switch status { //nolint:exhaustive // the others speak for themselves
	case ua.StatusBadSecurityChecksFailed, ua.StatusBadCertificateUntrusted:
		return fmt.Errorf("the server does not trust the gateway's certificate, it has to be accepted there: %w", err)
	case ua.StatusBadIdentityTokenRejected, ua.StatusBadUserAccessDenied, ua.StatusBadIdentityTokenInvalid:
		return fmt.Errorf("the server refuses the login: %w", err)
	}
	return err
}

// keepAlive is how often a server says at least that a subscription lives.
func (s *Source) keepAlive() time.Duration {
	return time.Duration(s.keepAliveCount()) * s.settings.Duration("publishing")
}

// keepAliveCount is how many publishings without a change make a keep-alive,
// some two seconds.
func (s *Source) keepAliveCount() uint32 {
	return uint32(max(1, 2*time.Second/s.settings.Duration("publishing"))) //nolint:gosec // at most 200
}

// hangUp ends a session. A transfer needs the subscription to survive it, so
// the session is closed without its subscriptions only where keep is set, by
// leaving it to its timeout.
func hangUp(c *opcua.Client, keep bool) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	if keep {
		_, _ = c.DetachSession(ctx)
	}
	_ = c.Close(ctx)
}
