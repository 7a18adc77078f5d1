package bench

import (
	"fmt"
	"slices"
	"time"
)

// Spread is the median of some figures with the least and the most.
type Spread struct {
	Median float64 `json:"median"`
	Min    float64 `json:"min"`
	Max    float64 `json:"max"`
}

// SpreadOf is nil where there are no figures.
func SpreadOf(figures []float64) *Spread {
	if len(figures) == 0 {
		return nil
	}
	sorted := slices.Sorted(slices.Values(figures))
	return &Spread{quantile(sorted, .5), sorted[0], sorted[len(sorted)-1]}
}

// quantile of what is sorted, between neighbours where it falls between them.
func quantile(sorted []float64, q float64) float64 {
	at := q * float64(len(sorted)-1)
	i := int(at)
	if i+1 >= len(sorted) {
		return sorted[len(sorted)-1]
	}
	return sorted[i] + (at-float64(i))*(sorted[i+1]-sorted[i])
}

// String shows the median and the range.
func (s *Spread) String() string { return fmt.Sprintf("%.2f (%.2f to %.2f)", s.Median, s.Min, s.Max) }

// Short is a figure with three digits that matter.
func Short(f float64) string {
	switch {
	case f >= 100:
		return fmt.Sprintf("%.0f", f)
	case f >= 10:
		return fmt.Sprintf("%.1f", f)
	}
	return fmt.Sprintf("%.2f", f)
}

// InMS is a duration in milliseconds.
func InMS(d time.Duration) float64 { return float64(d) / 1e6 }
