package memrows_test

import (
	"testing"

	"github.com/twinlog/twinlog/adapters/rows/memrows"
	"github.com/twinlog/twinlog/projections"
	"github.com/twinlog/twinlog/projections/rowstest"
)

func TestStore(t *testing.T) {
	rowstest.Run(t, rowstest.Kit{Open: func(testing.TB) projections.Store { return memrows.New() }})
}
