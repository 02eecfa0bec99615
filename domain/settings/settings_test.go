package settings_test

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/twinlog/twinlog/domain/quality"
	"github.com/twinlog/twinlog/domain/settings"
)

func TestEvolve(t *testing.T) {
	s := settings.Standard()
	if s.AllowedSkew != time.Minute || s.StaleMultiple != 5 {
		t.Fatalf("the standard is %+v", s)
	}
	skew := int64(1500)
	b, err := json.Marshal(settings.Changed{AllowedSkewMS: &skew})
	if err != nil || string(b) != `{"allowedSkewMs":1500}` {
		t.Fatalf("the event is %s, %v", b, err)
	}
	if s, err = s.Evolve(b); err != nil || s.AllowedSkew != 1500*time.Millisecond || s.StaleMultiple != 5 {
		t.Fatalf("after a change of one it is %+v, %v", s, err)
	}
	if s, err = s.Evolve([]byte(`{"staleMultiple":3}`)); err != nil || s.AllowedSkew != 1500*time.Millisecond || s.StaleMultiple != 3 {
		t.Fatalf("after a change of the other it is %+v, %v", s, err)
	}
	if again, err := s.Evolve([]byte(`{"staleMultiple":`)); err == nil || again != s {
		t.Fatalf("what cannot be read changed it to %+v, %v", again, err)
	}
}

func TestAheadOfItsTime(t *testing.T) {
	s, now := settings.Standard(), time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	if s.Ahead(now.Add(time.Minute), now) || !s.Ahead(now.Add(time.Minute+1), now) {
		t.Error("a sample may be ahead by the allowed skew, and no more")
	}
	came := quality.Quality{Raw: 192, Scheme: quality.OPCDA}
	got := settings.Doubted(came)
	if got.Code.Status() != quality.IsUncertain || got.Raw != came.Raw || got.Scheme != came.Scheme {
		t.Errorf("doubted, Good becomes %+v", got)
	}
	if bad := quality.Of(quality.BadSensorFailure); settings.Doubted(bad) != bad {
		t.Error("Bad must stay as bad as it is")
	}
}
