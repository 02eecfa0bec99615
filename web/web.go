// Package web is the console: a page that sends GraphQL to the server it came
// from and to nobody else. It needs no network, no CDN and no account.
//
// There are two pages. The IDE (GraphiQL) is built from npm's locked versions
// into dist/ by build.sh; no third party's code is kept in this repository, so
// a build without Node has none. The plain page (fallback/) is written by hand
// and always there: at / when there is no IDE, at /plain in any case.
package web

import (
	"bytes"
	"compress/gzip"
	"embed"
	"encoding/json"
	"io"
	"io/fs"
	"mime"
	"net/http"
	"path"
	"slices"
	"strings"
)

// dist holds the built IDE, or only a .gitkeep.
//
//go:embed all:dist
var dist embed.FS

//go:embed fallback/index.html fallback/plain.js fallback/plain.css fallback/icon.svg
var plain embed.FS

//go:embed examples/*.graphql
var examples embed.FS

// Example is a query that the pages offer.
type Example struct {
	Title string `json:"title"` // the text of its first line's comment
	Query string `json:"query"`
}

// Examples returns the queries that the pages offer, in their order. The demo
// prints the first three.
func Examples() []Example {
	names, _ := fs.Glob(examples, "examples/*.graphql") // a constant pattern
	slices.Sort(names)
	all := make([]Example, 0, len(names))
	for _, name := range names {
		text, err := fs.ReadFile(examples, name)
		if err != nil {
			continue // an embedded file that was just listed
		}
		title, query, _ := strings.Cut(string(text), "\n")
		all = append(all, Example{Title: strings.TrimSpace(strings.TrimLeft(title, "# ")), Query: query})
	}
	return all
}

// Built reports whether this binary contains the IDE.
func Built() bool { return built(sub(dist, "dist")) }

// Handler serves the pages; mount it at /. GraphQL is expected at /graphql of
// the same origin, over POST and over WebSocket (graphql-transport-ws).
func Handler() http.Handler {
	return handler{ide: sub(dist, "dist"), plain: sub(plain, "fallback"), examples: Examples()}
}

func built(ide fs.FS) bool {
	// build.sh compresses what it builds, so the page's name tells a finished
	// build from one that was interrupted.
	_, err := fs.Stat(ide, "index.html")
	return err == nil
}

func sub(f fs.FS, dir string) fs.FS {
	s, err := fs.Sub(f, dir)
	if err != nil {
		panic(err) // a constant, valid path
	}
	return s
}

type handler struct {
	ide, plain fs.FS
	examples   []Example
}

// The policies: the pages may talk to their own origin and run their own
// files. The IDE's editor writes style elements and starts workers, so its
// policy is as strict as that allows; neither page may be framed.
const (
	plainPolicy = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; " +
		"base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
	idePolicy = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; connect-src 'self'; img-src 'self' data:; " +
		"font-src 'self' data:; worker-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)

func (h handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		http.Error(w, "the console is only read: expected GET or HEAD", http.StatusMethodNotAllowed)
		return
	}
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.Header().Set("Referrer-Policy", "no-referrer")
	w.Header().Set("Cross-Origin-Opener-Policy", "same-origin")

	name := strings.TrimPrefix(path.Clean(r.URL.Path), "/")
	switch {
	case name == "examples.json":
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(h.examples) // the reader is gone if this fails
	case name == "" && built(h.ide):
		serve(w, r, h.ide, "index.html", idePolicy)
	case name == "" || name == "plain":
		serve(w, r, h.plain, "index.html", plainPolicy)
	case name == "plain.js" || name == "plain.css" || name == "icon.svg":
		serve(w, r, h.plain, name, plainPolicy)
	case strings.HasPrefix(name, "assets/"):
		// Their names contain a hash of their bytes.
		w.Header().Set("Cache-Control", "public, max-age=31536000, immutable")
		serve(w, r, h.ide, name, idePolicy)
	default:
		http.NotFound(w, r)
	}
}

// serve sends a file, or the file compressed (name.gz), as it is where the
// reader takes gzip and unpacked where it does not.
func serve(w http.ResponseWriter, r *http.Request, f fs.FS, name, policy string) {
	body, err := fs.ReadFile(f, name)
	packed := false
	if err != nil {
		body, err = fs.ReadFile(f, name+".gz")
		packed = err == nil
	}
	if err != nil {
		w.Header().Del("Cache-Control")
		http.NotFound(w, r)
		return
	}
	if packed && !strings.Contains(r.Header.Get("Accept-Encoding"), "gzip") {
		if body, err = unpack(body); err != nil {
			http.Error(w, "the console's file "+name+" is damaged", http.StatusInternalServerError)
			return
		}
		packed = false
	}

	w.Header().Set("Content-Security-Policy", policy)
	w.Header().Set("Vary", "Accept-Encoding")
	w.Header().Set("Content-Type", contentType(name))
	if packed {
		w.Header().Set("Content-Encoding", "gzip")
	}
	if w.Header().Get("Cache-Control") == "" {
		w.Header().Set("Cache-Control", "no-cache")
	}
	if r.Method == http.MethodGet {
		_, _ = w.Write(body) // the reader is gone if this fails
	}
}

func unpack(body []byte) ([]byte, error) {
	z, err := gzip.NewReader(bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	return io.ReadAll(z)
}

// contentType does not ask the operating system's tables, which differ.
func contentType(name string) string {
	switch path.Ext(name) {
	case ".html":
		return "text/html; charset=utf-8"
	case ".js":
		return "text/javascript; charset=utf-8"
	case ".css":
		return "text/css; charset=utf-8"
	case ".ttf":
		return "font/ttf"
	case ".svg":
		return "image/svg+xml"
	}
	if t := mime.TypeByExtension(path.Ext(name)); t != "" {
		return t
	}
	return "application/octet-stream"
}
