package queue

import (
	"strings"
	"testing"
)

// What is split off takes at most about twice the bytes of one job with all of it, however long the message, and
// where it is short it is split once.
func TestPieces(t *testing.T) {
	for name, c := range map[string]struct {
		message, recipients, limit int
		want                       int // pieces
	}{
		"a short message":        {message: 40, recipients: 9_500, limit: 500, want: 19},
		"a long one":             {message: 16_000, recipients: 9_500, limit: 500, want: 5},
		"one that outweighs all": {message: 16_000, recipients: 600, limit: 500, want: 1},
		"less than a call":       {message: 40, recipients: 3, limit: 500, want: 1},
		"single calls":           {message: 40, recipients: 700, limit: 1, want: 12},
	} {
		j := job("one", strings.Repeat("m", c.message))
		for range c.recipients {
			j.WovenIDs = append(j.WovenIDs, "w-12345")
		}
		whole, err := j.encode()
		if err != nil {
			t.Fatal(err)
		}
		pieces, bytes, recipients := j.parts(j.pieceSize(c.limit, 0)), 0, 0
		for i, p := range pieces {
			data, err := p.encode()
			if err != nil {
				t.Fatal(err)
			}
			bytes += len(data)
			recipients += len(p.WovenIDs)
			if i < len(pieces)-1 && len(p.WovenIDs)%c.limit != 0 {
				t.Errorf("%s: a piece of %d recipients leaves a call half full", name, len(p.WovenIDs))
			}
		}
		if len(pieces) != c.want || recipients != c.recipients || bytes > 2*len(whole) {
			t.Errorf("%s: %d pieces, want %d; %d recipients in %d bytes, were %d in %d", name, len(pieces), c.want, recipients, bytes, c.recipients, len(whole))
		}
	}
}
