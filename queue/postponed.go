package queue

import (
	"time"

	"github.com/nats-io/nats.go"
)

// headerLetter marks a message that is a letter which could not be buried, and holds the letter's origin. It is
// read on subjects of NOTIFY_LATER only, where producers may not publish.
const headerLetter = "Chatrelay-Letter"

// scheduleRoom is more than the headers take that make a letter a schedule.
const scheduleRoom = 1 << 10

// postponed are the messages by which a letter comes back at a time. They are written as letters are, so that
// encoding them cannot fail, and with ids made of the lease's origin and the letter's reason, so that postponing
// it again stores nothing new.
func postponed(l *Lease, letter DeadLetter, at, now time.Time, maxPayload int) (msgs []*nats.Msg) {
	if l.Letter != nil {
		letter.Deferrals = l.Deferrals + 1
	}
	for _, m := range letter.fit(maxPayload - scheduleRoom) {
		m.header.Set(headerLetter, m.origin)
		target := &nats.Msg{Subject: duePrefix + string(l.Priority) + "." + m.project, Data: m.data, Header: m.header}
		comeBack(target, m.project, l.Origin()+"-"+string(m.reason)+m.part, at, now)
		msgs = append(msgs, target)
	}
	return msgs
}

// comesWithLetter reads a message by which a letter comes back. What is not one becomes an invalid lease.
func (l *Lease) comesWithLetter(data []byte, header nats.Header, project string) {
	letter, err := decodeLetter(data, header)
	letter.Origin = header.Get(headerLetter)
	if err == nil && (letter.ProjectID != project || token(string(letter.Reason)) != string(letter.Reason) || token(letter.Origin) != letter.Origin) {
		err = invalid("it is no letter of project %.40q", project)
	}
	if err != nil {
		l.Invalid, l.Raw = invalid("%s", oneLine(err.Error(), 200)), data
		return
	}
	l.Letter, l.History = &letter, letter.History
}
