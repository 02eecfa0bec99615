package graph_test

import (
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/twinlog/twinlog/graph"
)

// TestFragmentsThatDouble: thirty fragments, each spread twice, are a page of
// text and 2^30 fields.
func TestFragmentsThatDouble(t *testing.T) {
	s := bare(t, graph.Limits{})
	document := "{ viewer { ...f0 } }"
	for i := range 30 {
		document += fmt.Sprintf(" fragment f%d on Viewer { ...f%d ...f%d }", i, i+1, i+1)
	}
	document += " fragment f30 on Viewer { kind }"
	start := time.Now()
	if code := s.code(document, nil); code != "TOO_COMPLEX" {
		t.Errorf("code %q, want TOO_COMPLEX", code)
	}
	if took := time.Since(start); took > 2*time.Second {
		t.Errorf("the refusal took %v", took)
	}
}

// TestHalfARequest: the rest of a request is not waited for without end.
func TestHalfARequest(t *testing.T) {
	s := bare(t, graph.Limits{Read: 100 * time.Millisecond})
	host, _, _ := strings.Cut(strings.TrimPrefix(s.url, "http://"), "/")
	conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", host)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := fmt.Fprintf(conn, "POST /graphql HTTP/1.1\r\nHost: %s\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n{", host); err != nil {
		t.Fatal(err)
	}
	_ = conn.SetReadDeadline(time.Now().Add(10 * time.Second))
	b := make([]byte, 1000)
	n, err := conn.Read(b)
	if err != nil || !strings.HasPrefix(string(b[:n]), "HTTP/1.1 400") {
		t.Errorf("answer %q, %v, want a 400", b[:n], err)
	}
}
