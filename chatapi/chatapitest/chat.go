package chatapitest

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"maps"
	"mime"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
)

// maxBody bounds, in bytes, the body of a call. The document names no bound.
const maxBody = 16 << 20

// request is the body of a call. Pointers show what is
// missing or null from what is empty.
type request struct {
	Message   *string    `json:"message"`
	WovenIDs  *[]*string `json:"woven_ids"`
	ProjectID *string    `json:"project_id"`
}

// Reply is the body of a 200.
type Reply struct {
	// Success is false only when recipients were named and none was delivered to: the
	// document does not say what it means.
	Success bool      `json:"success"`
	Data    ReplyData `json:"data"`
	// Info is never empty.
	Info string `json:"info"`
}

// ReplyData is the data of a [Reply].
type ReplyData struct {
	Errors []ReplyError `json:"errors"`
}

// ReplyError names the recipients that were not reached, for one reason.
type ReplyError struct {
	UserIDs []string `json:"user_ids"`
	Reason  string   `json:"reason"`
}

func (s *Server) serveChat(w http.ResponseWriter, r *http.Request) {
	call := Call{Time: time.Now(), InFlight: s.enter()}
	left := false
	leave := func() {
		if !left {
			left = true
			s.leave()
		}
	}
	defer leave()
	// settle ends the call in the books before the client can know of it.
	settle := func(status int) {
		call.Status = status
		leave()
		s.record(call)
	}
	refuse := func(status int, text string) {
		settle(status)
		writeError(w, status, text)
	}

	client, status, text := s.admit(w, r)
	if status != 0 {
		refuse(status, text)
		return
	}
	status, err := s.decode(w, r, &call)
	if err != nil {
		refuse(status, err.Error())
		return
	}
	if !s.permitted(client, call.ProjectID) {
		refuse(http.StatusForbidden, "the client may not call for this project")
		return
	}
	fault := s.nextFault(call)
	if !s.wait(r, fault.Delay) {
		settle(0)
		panic(http.ErrAbortHandler)
	}
	if fault.Break == BreakBefore {
		settle(0)
		panic(http.ErrAbortHandler)
	}
	if status := fault.status(); status != 0 {
		if fault.Deliver {
			s.carryOut(&call)
		}
		settle(status)
		fault.reply(w, status)
		return
	}

	body := s.carryOut(&call)
	switch fault.Break {
	case BreakAfter:
		settle(0)
		panic(http.ErrAbortHandler)
	case BreakMiddle:
		settle(0)
		writeHalf(w, body)
		panic(http.ErrAbortHandler)
	case BreakEnd, HangEnd:
		settle(http.StatusOK)
		w.Header().Set("Content-Type", "application/json; charset=utf-8")
		_, _ = w.Write(body)
		_ = http.NewResponseController(w).Flush()
		if fault.Break == HangEnd {
			s.hang(r)
		}
		panic(http.ErrAbortHandler)
	case Hang:
		call.Status = 0
		s.record(call) // now: the test wants to see it while it hangs
		s.hang(r)
		panic(http.ErrAbortHandler)
	}
	if !s.delay(r, call.Time) {
		settle(0)
		panic(http.ErrAbortHandler)
	}
	settle(http.StatusOK)
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	_, _ = w.Write(body)
}

// hang returns when the client has left, or the server is closed.
func (s *Server) hang(r *http.Request) {
	select {
	case <-r.Context().Done():
	case <-s.closed:
	}
}

// admit returns the client that calls, or the status and text with which the call
// is refused for its envelope.
func (s *Server) admit(w http.ResponseWriter, r *http.Request) (client string, status int, text string) {
	if status := s.downStatus(); status != 0 {
		return "", status, "the server is scripted to be down"
	}
	if r.Method != http.MethodPost {
		w.Header().Set("Allow", http.MethodPost)
		return "", http.StatusMethodNotAllowed, "only POST is served here"
	}
	token, isBearer := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	client, valid := s.holder(token)
	if !isBearer || !valid {
		w.Header().Set("WWW-Authenticate", `Bearer realm="woven", error="invalid_token"`)
		return "", http.StatusUnauthorized, "the access token is missing, unknown, expired or revoked"
	}
	if kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || kind != "application/json" {
		return "", http.StatusUnsupportedMediaType, "the Content-Type must be application/json"
	}
	return client, 0, ""
}

// decode reads the body by the schema into call. On an error it returns the
// status to answer with.
func (s *Server) decode(w http.ResponseWriter, r *http.Request, call *Call) (int, error) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if tooLarge := (*http.MaxBytesError)(nil); errors.As(err, &tooLarge) {
		return http.StatusRequestEntityTooLarge, fmt.Errorf("the body is longer than %d bytes", maxBody)
	}
	if err != nil {
		return http.StatusBadRequest, fmt.Errorf("read the body: %w", err)
	}
	var req request
	if err := json.Unmarshal(body, &req, json.RejectUnknownMembers(true)); err != nil {
		return http.StatusBadRequest, fmt.Errorf("the body does not follow the schema: %w", err)
	}
	switch {
	case req.Message == nil:
		return http.StatusBadRequest, errors.New("message is required and must be a string")
	case req.WovenIDs == nil:
		return http.StatusBadRequest, errors.New("woven_ids is required and must be an array")
	case slices.Contains(*req.WovenIDs, nil):
		return http.StatusBadRequest, errors.New("woven_ids must hold strings")
	case req.ProjectID == nil || !isUUID(*req.ProjectID):
		return http.StatusBadRequest, errors.New("project_id is required and must be a UUID")
	}
	call.ProjectID, call.Message = *req.ProjectID, *req.Message
	call.Recipients = make([]string, 0, len(*req.WovenIDs))
	for _, id := range *req.WovenIDs {
		call.Recipients = append(call.Recipients, *id)
	}
	if s.cfg.MaxRecipients > 0 && len(call.Recipients) > s.cfg.MaxRecipients {
		return http.StatusBadRequest, fmt.Errorf("woven_ids holds %d recipients, more than %d", len(call.Recipients), s.cfg.MaxRecipients)
	}
	return 0, nil
}

// carryOut delivers to all recipients but those that are rejected, and returns the body of the 200.
func (s *Server) carryOut(call *Call) []byte {
	refused := s.deliver(call)
	reply := Reply{
		Success: call.Delivered || len(call.Recipients) == 0,
		Data:    ReplyData{Errors: []ReplyError{}},
		Info:    fmt.Sprintf("%d recipients notified, %d not", len(call.Recipients)-call.Rejected, call.Rejected),
	}
	for _, reason := range slices.SortedFunc(maps.Keys(refused), cmp.Compare[string]) {
		reply.Data.Errors = append(reply.Data.Errors, ReplyError{UserIDs: refused[reason], Reason: reason})
	}
	body, err := json.Marshal(reply)
	if err != nil {
		panic(fmt.Sprintf("chatapitest: encode a reply: %v", err)) // a scripted reason that is not UTF-8
	}
	return body
}

// writeError answers with an error body of this package's own choice.
func writeError(w http.ResponseWriter, status int, text string) {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	body, _ := json.Marshal(struct {
		StatusCode int    `json:"statusCode"`
		Error      string `json:"error"`
		Message    string `json:"message"`
	}{status, http.StatusText(status), text})
	w.WriteHeader(status)
	_, _ = w.Write(body)
}

// isUUID reports whether s is in the form of RFC 4122, "format": "uuid" in
// the API's schema.
func isUUID(s string) bool {
	if len(s) != 36 {
		return false
	}
	for i, r := range s {
		if i == 8 || i == 13 || i == 18 || i == 23 {
			if r != '-' {
				return false
			}
		} else if !strings.ContainsRune("0123456789abcdefABCDEF", r) {
			return false
		}
	}
	return true
}
