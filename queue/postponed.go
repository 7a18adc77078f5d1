package queue

import (
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// headerLetter marks a message that is a letter which could not be buried, and holds the letter's origin. It is
// read on subjects of NOTIFY_LATER only, where producers may not publish.
const headerLetter = "Chatrelay-Letter"

// scheduleRoom is more than the headers take that make a letter a schedule.
const scheduleRoom = 1 << 10

// postponed are the messages by which a letter comes back, at a time or at once. They are written as letters are,
// so that encoding them cannot fail, and with ids made of the lease's origin and the letter's reason, so that
// postponing it again stores nothing new.
func postponed(l *Lease, letter DeadLetter, at time.Time, later bool, maxPayload int) (msgs []*nats.Msg) {
	if l.Letter != nil {
		letter.Deferrals = l.Deferrals + 1
	}
	for _, m := range letter.fit(maxPayload - scheduleRoom) {
		place := l.Origin() + "-" + string(m.reason) + m.part
		m.header.Set(headerLetter, m.origin)
		m.header.Set(jetstream.MsgIDHeader, "later."+place)
		msg := &nats.Msg{Subject: duePrefix + string(l.Priority) + "." + m.project, Data: m.data, Header: m.header}
		if later {
			schedule(msg, laterSubject(m.project, place), at)
		}
		msgs = append(msgs, msg)
	}
	return msgs
}

// bringsLetter reads a message by which a letter comes back. What is not one becomes an invalid lease.
func (l *Lease) bringsLetter(msg *nats.Msg, project string) {
	letter, err := decodeLetter(msg.Data, msg.Header)
	letter.Origin = msg.Header.Get(headerLetter)
	if err == nil && (letter.ProjectID != project || token(string(letter.Reason)) != string(letter.Reason) || token(letter.Origin) != letter.Origin) {
		err = invalid("it is no letter of project %.40q", project)
	}
	if err != nil {
		l.Invalid = invalid("%s", oneLine(err.Error(), 200))
		return
	}
	l.Letter, l.History = &letter, letter.History
}

// memory is about what the letter takes beside its headers, in bytes: it names most recipients twice.
func (l *DeadLetter) memory() int {
	n := len(l.Message) + len(l.Raw)
	for _, id := range l.WovenIDs {
		n += 2 * (len(id) + 16)
	}
	for _, f := range l.Failures {
		n += 64 + len(f.Detail)
	}
	return n
}
