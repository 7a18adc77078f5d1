package queue

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/nats-io/nats.go"
)

const (
	// maxRaw bounds the part of a malformed payload that a letter keeps. Otherwise one producer could fill
	// NOTIFY_DEAD, which is everybody's, with rubbish: a payload of 1 MiB takes 1.4 MB in base64.
	maxRaw = 64 << 10
	// maxInvalidHeaders bounds the producer's headers in a letter about a malformed payload, for the same reason.
	maxInvalidHeaders = 4 << 10
	// leastLetter is room for any letter that is shortened as far as it can be.
	leastLetter = 4 << 10
	// clipped bounds what is left of a single text of a letter that is shortened as far as it can be.
	clipped = 128
)

// letterMessage is a letter, or a part of one, as it is stored.
type letterMessage struct {
	project, origin string
	reason          Reason
	part            string // which of several, such as -0+500; empty if it is the only one
	header          nats.Header
	data            []byte
}

// fit encodes the letter in as few messages as can be, each of at most room bytes with its headers. It never fails.
// A room below leastLetter counts as that.
func (l *DeadLetter) fit(room int) []letterMessage {
	room = max(room, leastLetter)
	safe := l.sanitized()
	whole := safe.message()
	if whole.size() <= room {
		return []letterMessage{whole}
	}
	safe.Failures = summary(safe.Failures)
	if m := safe.message(); m.size() <= room {
		return []letterMessage{m}
	}
	safe.cutRaw(max(clipped, min(len(safe.Raw), (room-leastLetter)/2)))
	if m := safe.message(); m.size() <= room {
		return []letterMessage{m}
	}
	safe.Headers, safe.Ambiguous, safe.LastError = nil, nil, oneLine(safe.LastError, clipped)
	bare := safe
	bare.WovenIDs = nil
	if m := bare.message(); m.size() > room/8*7 { // a letter for every few recipients would be as many copies of the message
		safe.cutMessage(room)
	}
	return safe.divided(room, 0, len(safe.WovenIDs))
}

// divided encodes the letter, or halves of its recipients, who are those from first on of all.
func (l *DeadLetter) divided(room, first, all int) []letterMessage {
	part := *l
	n, which := len(part.WovenIDs), ""
	if n < all {
		which = fmt.Sprintf("-%d+%d", first, n)
		part.Origin = l.Origin + which
	}
	m := part.message()
	m.part = which
	if m.size() <= room {
		return []letterMessage{m}
	}
	if n <= 1 {
		part.cutMessage(room)
		if n == 1 {
			part.WovenIDs = []string{oneLine(part.WovenIDs[0], clipped)}
		}
		m = part.message()
		m.part = which
		return []letterMessage{m}
	}
	left, right := *l, *l
	left.WovenIDs, right.WovenIDs = l.WovenIDs[:n/2], l.WovenIDs[n/2:]
	return append(left.divided(room, first, all), right.divided(room, first+n/2, all)...)
}

// sanitized is the letter with all that its subject and its encoding demand.
func (l *DeadLetter) sanitized() DeadLetter {
	safe := *l
	safe.Untrusted = ""
	if !validProject(safe.ProjectID) {
		safe.ProjectID = UnknownProject
	}
	safe.Reason, safe.Origin = Reason(token(string(l.Reason))), token(l.Origin)
	if safe.JobID != "" && !validID(safe.JobID) {
		safe.JobID = oneLine(safe.JobID, MaxIDLength)
	}
	safe.Priority = Priority(oneLine(string(safe.Priority), 32))
	safe.FailedAt = encodable(safe.FailedAt)
	safe.History.clamp()
	safe.cutRaw(maxRaw)
	if safe.Reason == Invalid {
		safe.Headers = maps.Clone(safe.Headers)
		dropLargest(safe.Headers, maxInvalidHeaders)
	}
	return safe
}

func (l *DeadLetter) message() letterMessage {
	// Only text that is not UTF-8 and times outside the years that RFC 3339 has could be refused. The option
	// puts U+FFFD in place of the first, and sanitized has seen to the second.
	data, err := json.Marshal(l, jsontext.AllowInvalidUTF8(true))
	if err != nil {
		panic(fmt.Sprintf("encode a dead letter: %v", err))
	}
	m := letterMessage{project: l.ProjectID, origin: l.Origin, reason: l.Reason, header: nats.Header{}, data: data}
	l.encode(m.header)
	return m
}

func (m *letterMessage) subject() string {
	return deadPrefix + m.project + "." + string(m.reason) + "." + m.origin
}

func (m *letterMessage) size() int { return len(m.data) + headersSize(m.header) }

// summary is what is left of the failures, which a replay does not need, in a letter that is too large: the
// first of them, without its recipients.
func summary(all []Failure) []Failure {
	if len(all) == 0 {
		return nil
	}
	first := Failure{Status: all[0].Status, Detail: oneLine(all[0].Detail, clipped)}
	return []Failure{first, {Detail: fmt.Sprintf("%d kinds of failure, left out because the letter was too large", len(all))}}
}

// cutRaw keeps the first bytes of the payload.
func (l *DeadLetter) cutRaw(most int) {
	if len(l.Raw) <= most {
		return
	}
	if l.RawSize == 0 {
		l.RawSize, l.RawSHA256 = len(l.Raw), hash(l.Raw)
	}
	l.Raw = l.Raw[:most:most]
}

// cutMessage keeps so much of the message that it takes at most half of room bytes.
func (l *DeadLetter) cutMessage(room int) {
	if l.MessageSize == 0 {
		l.MessageSize, l.MessageSHA256 = len(l.Message), hash([]byte(l.Message))
	}
	// A character takes at most six bytes in JSON for each of its own.
	most := max(clipped, (room-leastLetter)/12)
	if len(l.Message) > most {
		for most > 0 && !utf8.RuneStart(l.Message[most]) {
			most--
		}
		l.Message = l.Message[:most]
	}
}

func hash(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

// encodable is the time as RFC 3339 can write it, and zero if it cannot.
func encodable(t time.Time) time.Time {
	if t = t.UTC(); t.Year() < 1 || t.Year() > 9999 {
		return time.Time{}
	}
	return t
}

// token is text as a token of a subject. What it has to change it tells apart by a hash: two letters must not
// share a subject.
func token(text string) string {
	odd := func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '-' && r != '_' && r != '+'
	}
	if text != "" && len(text) <= MaxIDLength && !strings.ContainsFunc(text, odd) {
		return text
	}
	plain := strings.Map(func(r rune) rune {
		if odd(r) {
			return '_'
		}
		return r
	}, text)
	return plain[:min(len(plain), 64)] + "-" + hash([]byte(text))[:12]
}
