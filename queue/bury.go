package queue

import (
	"context"
	"fmt"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/nats-io/nats.go"
)

// Bury stores dead letters. When it returns no error the server has acknowledged every one of them;
// otherwise failed says which, by their index, it is not known to have stored. Burying a letter of the same
// project, reason and origin again replaces it, so a settlement that is repeated leaves one letter. The error
// matches [ErrFull] when NOTIFY_DEAD is full, and [ErrNoStream] when it is missing.
func (q *Queue) Bury(ctx context.Context, letters []DeadLetter) (failed []int, err error) {
	if err := q.bury(ctx, letters); err != nil {
		for i := range letters {
			failed = append(failed, i)
		}
		return failed, err
	}
	return nil, nil
}

func (q *Queue) bury(ctx context.Context, letters []DeadLetter) error {
	msgs := make([]*nats.Msg, len(letters))
	for i := range letters {
		header := nats.Header{}
		letters[i].encode(header)
		data, err := encodeLetter(letters[i], int(q.nc.MaxPayload())-headersSize(header))
		if err != nil {
			return fmt.Errorf("bury job %s: %w", letters[i].Origin, err)
		}
		msgs[i] = &nats.Msg{Subject: letters[i].subject(), Data: data, Header: header}
		if strings.ContainsAny(msgs[i].Subject, " \t\r\n") { // the connection does not check subjects
			return fmt.Errorf("bury job %q: its project, reason or origin contains white space", letters[i].Origin)
		}
	}
	if err := q.publishAll(ctx, msgs); err != nil {
		return fmt.Errorf("bury %d letters: %w", len(letters), err)
	}
	return nil
}

// encodeLetter leaves out the details of the failures, which a replay does not need, if the letter
// would otherwise take more than room bytes.
func encodeLetter(l DeadLetter, room int) ([]byte, error) {
	data, err := json.Marshal(l)
	if err != nil || len(data) <= room {
		return data, err
	}
	status := 0
	if len(l.Failures) > 0 {
		status = l.Failures[0].Status
	}
	l.Failures = []Failure{{Status: status, Detail: fmt.Sprintf("%d kinds of failure, left out because the letter was too large", len(l.Failures))}}
	return json.Marshal(l)
}
