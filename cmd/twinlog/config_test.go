package main

import (
	"strings"
	"testing"

	"github.com/twinlog/twinlog/cmd/server"
)

func TestConfigFile(t *testing.T) {
	t.Run("every key is read", func(t *testing.T) {
		got, err := parseConfig("t.yaml", []byte("http: 127.0.0.1:1\nmqtt: mqtt://broker:1883\ndata: /d\nlog: badger\nlog_listen: 127.0.0.1:2113\noperator: Ada\ninsecure: true\nregulated: true\n"))
		if err != nil {
			t.Fatal(err)
		}
		want := server.Config{HTTP: "127.0.0.1:1", MQTT: "mqtt://broker:1883", Data: "/d", Log: "badger", LogListen: "127.0.0.1:2113", Operator: "Ada", Insecure: true, Regulated: true}
		if got != want {
			t.Errorf("got %+v, want %+v", got, want)
		}
	})
	t.Run("all faults come at once, each with its line", func(t *testing.T) {
		_, err := parseConfig("t.yaml", []byte("http: nowhere\nhtpp: 1\nmqtt: 0.0.0.0:1883\nlog: [a]\ninsecure: maybe\n"))
		if err == nil {
			t.Fatal("accepted")
		}
		for _, want := range []string{
			`t.yaml:2: unknown key "htpp", expected one of data, http, insecure, log, log_listen, mqtt, operator, regulated`,
			`t.yaml:3: mqtt: "0.0.0.0:1883" is reachable from other machines`,
			`t.yaml:4: log: `, `t.yaml:5: insecure: "maybe", expected true or false`,
			`t.yaml:1: http: "nowhere", expected HOST:PORT`,
		} {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("no %q in:\n%v", want, err)
			}
		}
	})
	t.Run("a key given twice is a fault", func(t *testing.T) {
		_, err := parseConfig("t.yaml", []byte("http: 127.0.0.1:1\nhttp: 127.0.0.1:2\n"))
		if err == nil || !strings.Contains(err.Error(), "t.yaml:2:") {
			t.Errorf("got %v, want a fault on line 2", err)
		}
	})
	t.Run("an address beyond this machine needs insecure", func(t *testing.T) {
		if _, err := parseConfig("t.yaml", []byte("insecure: true\nhttp: 0.0.0.0:80\n")); err != nil {
			t.Error(err)
		}
	})
	t.Run("an empty file is all defaults", func(t *testing.T) {
		if c, err := parseConfig("t.yaml", nil); err != nil || c != (server.Config{}) {
			t.Errorf("got %+v, %v", c, err)
		}
	})
}

// FuzzConfig holds the reader to its promise: any file is a configuration or a
// sentence about what is wrong with it, never a panic.
func FuzzConfig(f *testing.F) {
	f.Add([]byte("http: 127.0.0.1:8080\n"))
	f.Add([]byte("insecure: yes\n? [a]\n: b\n"))
	f.Add([]byte("- a\n- b\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		if _, err := parseConfig("t.yaml", text); err != nil && err.Error() == "" {
			t.Error("refused without a word")
		}
	})
}
