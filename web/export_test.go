package web

import (
	"io/fs"
	"net/http"
)

// NewHandler is Handler with another IDE than the one that was built in.
func NewHandler(ide fs.FS) http.Handler {
	return handler{ide: ide, plain: sub(plain, "fallback"), examples: Examples()}
}
