package chatapi

import "github.com/go-json-experiment/json/jsontext"

// Notification is one message of one project to some recipients: the body of a
// call.
type Notification struct {
	// ProjectID is the project on whose behalf the message is sent: a UUID.
	// Its members cannot be recipients.
	ProjectID string

	// Message is the text that the recipients see, in UTF-8.
	Message string

	// WovenIDs are the recipients, each named once.
	WovenIDs []string
}

// encode writes the body of the call, with the names that the API documents. No
// other member may be sent: the API refuses unknown ones. It is written by hand
// because for one recipient that takes a third of the library's time
// (BenchmarkEncode). The error is that of text that is not UTF-8.
func (n Notification) encode() (body []byte, err error) {
	size := 64 + len(n.ProjectID) + len(n.Message) + len(n.Message)/8
	for _, id := range n.WovenIDs {
		size += len(id) + len(`"",`)
	}
	quote := func(prefix, text string) {
		var bad error
		if body, bad = jsontext.AppendQuote(append(body, prefix...), text); bad != nil {
			err = bad
		}
	}
	body = make([]byte, 0, size)
	quote(`{"project_id":`, n.ProjectID)
	quote(`,"message":`, n.Message)
	prefix := `,"woven_ids":[`
	for _, id := range n.WovenIDs {
		quote(prefix, id)
		prefix = ","
	}
	if len(n.WovenIDs) == 0 {
		body = append(body, prefix...)
	}
	return append(body, "]}"...), err
}
