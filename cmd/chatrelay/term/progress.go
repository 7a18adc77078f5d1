package term

import (
	"io"
	"time"

	"github.com/schollz/progressbar/v3"
)

// Progress is a bar on a terminal that can draw one, and nothing elsewhere.
type Progress struct{ bar *progressbar.ProgressBar }

// CountProgress counts things up to max on w. A negative max: the end is not known.
func CountProgress(w io.Writer, max int64, what string) *Progress {
	return newProgress(w, max, what, false)
}

// BytesProgress counts bytes up to max on w. A negative max: the end is not known.
func BytesProgress(w io.Writer, max int64, what string) *Progress {
	return newProgress(w, max, what, true)
}

func newProgress(w io.Writer, max int64, what string, bytes bool) *Progress {
	return &Progress{progressbar.NewOptions64(max,
		progressbar.OptionSetWriter(w), progressbar.OptionSetVisibility(Capable(w)), progressbar.OptionSetDescription(what),
		progressbar.OptionShowBytes(bytes), progressbar.OptionShowCount(), progressbar.OptionSetWidth(24),
		// The library's spinner turns in a goroutine that reads what Set and Add write.
		progressbar.OptionSetSpinnerChangeInterval(0),
		progressbar.OptionThrottle(100*time.Millisecond), progressbar.OptionClearOnFinish())}
}

// A bar that cannot be drawn stops nobody: none of these returns its error.

// Add counts n more.
func (p *Progress) Add(n int) { _ = p.bar.Add(n) }

// Set counts n in all.
func (p *Progress) Set(n int64) { _ = p.bar.Set64(n) }

// Describe changes what is said beside the bar.
func (p *Progress) Describe(what string) { p.bar.Describe(what) }

// Clear makes way for a line of output.
func (p *Progress) Clear() { _ = p.bar.Clear() }

// Finish removes the bar.
func (p *Progress) Finish() { _ = p.bar.Finish() }
