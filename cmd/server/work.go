package server

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
)

// work runs the server's parts. The first that ends with an error ends all.
type work struct {
	cancel context.CancelCauseFunc
	wg     sync.WaitGroup
	mu     sync.Mutex // guards errs
	errs   []error
}

func newWork(cancel context.CancelCauseFunc) *work { return &work{cancel: cancel} }

func (w *work) start(name string, run func() error) {
	w.wg.Go(func() {
		err := run()
		if err == nil || errors.Is(err, context.Canceled) || errors.Is(err, http.ErrServerClosed) {
			return
		}
		w.fail(fmt.Errorf("%s: %w", name, err))
	})
}

// fail notes an error, if it is one, and ends all parts.
func (w *work) fail(err error) {
	if err == nil {
		return
	}
	w.mu.Lock()
	w.errs = append(w.errs, err)
	w.mu.Unlock()
	w.cancel(err)
}

func (w *work) wait() error {
	w.wg.Wait()
	w.mu.Lock()
	defer w.mu.Unlock()
	return errors.Join(w.errs...)
}
