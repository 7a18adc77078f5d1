package daemon

import (
	"cmp"
	"fmt"
	"io"
	"time"

	"github.com/rs/zerolog"

	"github.com/chatrelay/chatrelay/chatapi"
	"github.com/chatrelay/chatrelay/chatapi/credentials"
	"github.com/chatrelay/chatrelay/cmd/chatrelay/term"
	"github.com/chatrelay/chatrelay/worker"
)

// NewLogger logs to out in a format: console for people, json for programs, or auto, which is console
// on a terminal and JSON elsewhere. It leaves out what is below level: debug, info, warn or error.
func NewLogger(out io.Writer, format, level string) (zerolog.Logger, error) {
	lvl, err := zerolog.ParseLevel(level)
	if err != nil || level == "" {
		return zerolog.Nop(), fmt.Errorf("log level %q is not one of debug, info, warn, error", level)
	}
	switch {
	case format == "console", format == "auto" && term.IsTerminal(out):
		out = zerolog.ConsoleWriter{Out: out, TimeFormat: time.TimeOnly, NoColor: !term.Colours(out)}
	case format != "json" && format != "auto":
		return zerolog.Nop(), fmt.Errorf("log format %q is not one of auto, console, json", format)
	}
	return zerolog.New(zerolog.SyncWriter(out)).Level(lvl).With().Timestamp().Logger(), nil
}

// logEvent writes one line for what happened. No message text ever, and recipient ids, which the
// server's own words may contain, only at debug level.
func logEvent(log zerolog.Logger, e worker.Event) {
	var line *zerolog.Event
	switch {
	case e.Kind == worker.EventTrouble:
		line = log.Error()
	case e.Kind == worker.EventCallSize && !e.Again:
		line = log.Warn()
	case e.Kind == worker.EventUnburied, e.Kind == worker.EventPostponed:
		line = log.Debug() // that it began is told once; see logLetters
	case partly(e):
		line = log.Warn()
	case e.Kind == worker.EventGate && e.Narrow && e.Err != nil && e.Failed == 2:
		line = log.Warn()
	case e.Kind == worker.EventGate && e.Narrow && (e.Err != nil || e.Failed < 2):
		line = log.Debug() // one failure between successes is counted, no more
	case (e.Kind == worker.EventGate || e.Kind == worker.EventCallSize) && e.Again, e.Kind == worker.EventCall && !e.Ambiguous:
		line = log.Debug() // already logged when the gate closed, or counted in the settlement
	case e.Err != nil:
		line = log.Warn()
	default:
		line = log.Info()
	}
	if e.ProjectID != "" {
		line = line.Str("project", e.ProjectID)
	}
	if e.Priority != "" {
		line = line.Str("priority", string(e.Priority))
	}
	if e.From != "" {
		line = line.Str("worker", e.From)
	}
	line = line.Int("jobs", e.Jobs)
	if e.Recipients > 0 {
		line = line.Int("recipients", e.Recipients)
	}
	if e.Kind == worker.EventCall {
		line = line.Int("delivered", e.Delivered).Int("status", e.Status)
	}
	if e.Unknown > 0 {
		line = line.Int("unknown_ids", e.Unknown)
	}
	if e.Doubt != "" {
		line = line.Str("doubt", e.Doubt)
	}
	if len(e.Letters) > 0 {
		reasons := zerolog.Dict()
		counts := map[string]int{}
		for _, l := range e.Letters {
			counts[string(l.Reason)] += max(1, len(l.WovenIDs))
		}
		for reason, n := range counts {
			reasons.Int(reason, n)
		}
		line = line.Dict("dead", reasons)
	}
	if e.Duration > 0 {
		line = line.Dur("ms", e.Duration)
	}
	if e.Wait > 0 {
		line = line.Dur("wait_ms", e.Wait)
	}
	if e.Err != nil {
		text := chatapi.LogText(e.Err)
		if log.GetLevel() <= zerolog.DebugLevel {
			text = e.Err.Error()
		}
		line = line.Str("error", text)
	}
	line.Msg(eventMessage(e))
}

// logLetters says once that dead letters cannot be written, and once that they can again.
func logLetters(log zerolog.Logger, t turn, e worker.Event) {
	switch t {
	case began:
		line := log.Error()
		if e.ProjectID != "" {
			line = line.Str("project", e.ProjectID)
		}
		line.Str("error", oneLine(e.Err)).Msg("dead letters cannot be written: they wait in NOTIFY_LATER and are tried again; see chatrelay status")
	case ended:
		log.Info().Msg("dead letters are written again")
	}
}

// partly reports whether the reply to a call left something open: who of its recipients was told may
// not be as it is recorded.
func partly(e worker.Event) bool { return e.Unknown > 0 || e.Doubt != "" }

// eventMessage is what happened, in words.
func eventMessage(e worker.Event) string {
	switch {
	case e.Unknown > 0:
		return "call partly understood: the API named recipients that were not asked for"
	case e.Doubt != "":
		return "call partly understood"
	case e.Kind == worker.EventGate && e.Narrow:
		return "a message failed: it waits, and the project's other calls go one at a time"
	case e.Kind == worker.EventGate && e.From != "":
		return "gate closed by another worker's word: the project's calls are held back"
	case e.Kind == worker.EventGate && e.Shared:
		return "gate closed: the calls of all projects with the same credential are held back"
	case e.Kind == worker.EventGate && e.Wait > 0:
		return "gate closed: the project's calls are held back"
	case e.Kind == worker.EventGate:
		return "gate opened: the project's calls go again"
	case e.Kind == worker.EventCallSize && e.Recipients > 0:
		return "the API takes no more recipients in a call of the project: --max-recipients can be lowered"
	case e.Kind == worker.EventCallSize:
		return "the API takes larger calls of the project again"
	}
	return string(e.Kind)
}

// tokenAdvice says what to do when a credential gets no token.
func tokenAdvice(e credentials.NoToken) string {
	switch kind := chatapi.KindOf(e.Err); {
	case kind == chatapi.Misconfigured:
		return "check the address of the token endpoint"
	case kind != chatapi.Credential:
		return "the token server cannot be reached or fails; it is tried again"
	case e.Project != "":
		return "check its entry in the credentials file"
	}
	return "check the client id and its secret"
}

// logCredentials writes one line for what became of credentials, read from file, and from secretFile
// for the projects that file does not name.
func logCredentials(log zerolog.Logger, file, secretFile string, e credentials.Event) {
	switch e := e.(type) {
	case credentials.Reloaded:
		line := log.Info().Str("file", cmp.Or(file, secretFile)).Int("added", len(e.Added)).Int("removed", len(e.Removed)).Int("changed", len(e.Changed))
		if e.Rest {
			line.Str("client_secret_file", secretFile).Msg("credentials reloaded: the client secret was replaced")
			return
		}
		line.Msg("credentials reloaded")
	case credentials.ReloadFailed:
		log.Error().Str("file", e.File).Str("error", e.Err.Error()).Msg("credentials not reloaded: the old ones stay in use until this is put right")
	case credentials.NoFile:
		log.Info().Msg("SIGHUP: there is no credentials file and no secret file to read again")
	case credentials.NoToken:
		line := log.Error()
		if e.Project != "" {
			line = line.Str("file", file).Str("project", e.Project).Str("client_id", e.ClientID)
		} else if secretFile != "" {
			line = line.Str("client_secret_file", secretFile)
		}
		line.Str("error", chatapi.LogText(e.Err)).Msg("no access token: jobs will wait; " + tokenAdvice(e))
	}
}
