package graph

import (
	"mime"
	"net/http"
	"strconv"
	"strings"
)

// The media types of an answer (GraphQL over HTTP, "Media Types").
const (
	mediaResponse = "application/graphql-response+json"
	mediaJSON     = "application/json"
	mediaStream   = "text/event-stream"
)

// acceptable returns the media type to answer in, or "" when none of ours will
// do. A client that says nothing, or anything, is taken for one from before
// the specification, and gets application/json.
func acceptable(r *http.Request) string {
	accept := r.Header.Values("Accept")
	if len(accept) == 0 {
		return mediaJSON
	}
	best, bestQ := "", 0.0
	for item := range strings.SplitSeq(strings.Join(accept, ","), ",") {
		media, params, err := mime.ParseMediaType(item)
		if err != nil {
			continue
		}
		q := 1.0
		if s, ok := params["q"]; ok {
			if q, err = strconv.ParseFloat(s, 64); err != nil {
				continue
			}
		}
		switch media {
		case mediaResponse, mediaJSON, mediaStream:
		case "*/*", "application/*":
			media = mediaJSON
		default:
			continue
		}
		if charset := params["charset"]; charset != "" && !strings.EqualFold(charset, "utf-8") {
			continue
		}
		if q > bestQ {
			best, bestQ = media, q
		}
	}
	return best
}

// isJSON reports whether a request body is said to be JSON in UTF-8. It is also
// what keeps other sites' forms out: a browser asks before it sends this type
// across origins, and we never say yes to strangers.
func isJSON(r *http.Request) bool {
	media, params, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || media != mediaJSON {
		return false
	}
	charset := params["charset"]
	return charset == "" || strings.EqualFold(charset, "utf-8")
}
