package plant

import (
	"fmt"
	"sync"
)

// A family is things of one kind that were read together and will be asked
// together: the assets of a page, the tags of all those assets. GraphQL asks
// each member by itself; the first one to be asked reads for the whole family,
// and the others find it done. So the number of reads depends on the document
// and not on how many things it finds, and nobody waits for a timer to fill a
// batch (docs/adr/0021).
type family[T any] struct {
	scope   *scope
	members []T

	mu   sync.Mutex            // guards done
	done map[string]func() any // by field and arguments: what was read, or is being read
}

func newFamily[T any](s *scope, n int) *family[T] {
	return &family[T]{scope: s, members: make([]T, 0, n), done: map[string]func() any{}}
}

// read is a result of a family: one entry for each member, in their order.
type read[V any] struct {
	of  []V
	err error
}

// together returns the i-th entry of what f reads for the whole family. f is
// called once for each key; it must return one entry for each member.
func together[T, V any](fam *family[T], i int, key string, f func(members []T) ([]V, error)) (V, error) {
	fam.mu.Lock()
	once, ok := fam.done[key]
	if !ok {
		once = sync.OnceValue(func() any {
			of, err := f(fam.members)
			if err == nil && len(of) != len(fam.members) {
				err = fmt.Errorf("%s: %d results for %d members", key, len(of), len(fam.members))
			}
			return read[V]{of, err}
		})
		fam.done[key] = once
	}
	fam.mu.Unlock()
	got := once().(read[V])
	if got.err != nil {
		var none V
		return none, got.err
	}
	return got.of[i], nil
}
