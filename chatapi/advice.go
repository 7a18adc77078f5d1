package chatapi

import (
	"errors"
	"fmt"
)

// Other is what [KindOf] returns for an error that is not an [*Error].
const Other Kind = "other"

// KindOf returns the kind of the [*Error] in err, or [Other] without one.
func KindOf(err error) Kind {
	if api, ok := errors.AsType[*Error](err); ok {
		return api.Kind
	}
	return Other
}

// ConcernsAllWorkers reports whether a failure of this kind, met by one worker,
// awaits the others as well: the API limits the project, or does not accept its
// credential. An outage each worker finds out by itself, with few calls.
func (k Kind) ConcernsAllWorkers() bool { return k == Limited || k == Credential }

// Advice says what an operator should do about a failure of this kind that does
// not go away. Empty: wait.
func (k Kind) Advice() string {
	switch k {
	case Credential:
		return "check the project's client id and secret"
	case Misconfigured:
		return "check the addresses of the Chat API and its token endpoint"
	}
	return ""
}

// LogText is the text of err for logs. Of an [*Error] with the status of a call it
// leaves out what the server said, which may name recipients. It keeps what the
// network said, where no status arrived, and what the token endpoint said, which
// knows no recipients. The text of any other error is returned as it is.
func LogText(err error) string {
	api, ok := errors.AsType[*Error](err)
	if !ok || api.Status == 0 || api.Unsent {
		return err.Error()
	}
	text := fmt.Sprintf("%s: %s, status %d", api.Op, api.Kind, api.Status)
	if api.MayBeDelivered {
		text += ", may have been delivered"
	}
	return text
}
