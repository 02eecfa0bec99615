package main

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/twinlog/twinlog/cmd/conf"
	"github.com/twinlog/twinlog/cmd/server"
)

// readConfig reads a file of settings; docs/configuration.md explains each. All
// faults are reported at once, each with its line.
func readConfig(path string) (server.Config, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return server.Config{}, err
	}
	return parseConfig(path, text)
}

func parseConfig(path string, text []byte) (server.Config, error) {
	file, root := conf.Parse(path, text)
	f := root.Fields("data", "http", "insecure", "log", "log_listen", "mqtt", "operator", "regulated")
	c := server.Config{
		Data: f.At("data").Text(), HTTP: f.At("http").Text(), MQTT: f.At("mqtt").Text(),
		Log: f.At("log").Text(), LogListen: f.At("log_listen").Text(), Operator: f.At("operator").Text(), Insecure: f.At("insecure").Bool(false), Regulated: f.At("regulated").Bool(false),
	}
	if c.HTTP != "" {
		f.At("http").Check(server.CheckListen(c.HTTP, c.Insecure))
	}
	if c.MQTT != "" {
		f.At("mqtt").Check(server.CheckMQTT(c.MQTT, c.Insecure))
	}
	if c.LogListen != "" {
		f.At("log_listen").Check(server.CheckListen(c.LogListen, c.Insecure))
	}
	if c.Log != "" {
		f.At("log").Check(server.CheckLog(c.Log))
	}
	return c, file.Err()
}

// dataHome is where data is kept when nobody says otherwise (XDG base
// directory specification: $XDG_DATA_HOME, else ~/.local/share).
func dataHome(name string) (string, error) {
	base := os.Getenv("XDG_DATA_HOME")
	if base == "" {
		home, err := os.UserHomeDir()
		if err != nil {
			return "", fmt.Errorf("no data directory: %w; give one with --data DIR", err)
		}
		base = filepath.Join(home, ".local", "share")
	}
	return filepath.Join(base, "twinlog", name), nil
}
