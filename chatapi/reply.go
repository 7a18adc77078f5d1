package chatapi

import (
	"strings"
	"unicode"
)

const (
	// maxUnknown bounds how many ids that were not asked for are kept: they are
	// for a log line, and one is enough to start asking the API's owner.
	maxUnknown = 16

	// maxUnknownID bounds the length of such an id in bytes.
	maxUnknownID = 128
)

// Report says who was not reached by a call that the API carried out.
type Report struct {
	// Status is the HTTP status of the reply, 200 as far as the API documents it.
	Status int

	// Failures are the recipients that the API did not reach, by reason. Only ids
	// that were asked for, each once; all others were delivered. An id that the API
	// spells in another case, or with other blanks around it, is given as it was asked for.
	Failures []Failure

	// Doubt says, without naming anybody, why the reply was understood only in part:
	// it reports failures that cannot be told whom they concern. Empty: it was
	// understood. Who is not in Failures counts as delivered all the same.
	Doubt string

	// Unknown are ids that the API named although nobody asked for them: at most
	// 16, and none longer than 128 bytes. They change nothing.
	Unknown []string
}

// Failure is one entry of data.errors.
type Failure struct {
	// WovenIDs are the recipients, called user_ids in the reply, as they were asked for.
	WovenIDs []string

	// Reason is the API's text, made one printable line of at most 512 bytes. When
	// the API names a recipient under two reasons, the first counts.
	Reason string
}

// report sorts the ids of data.errors into those that were asked for and others.
func (r reply) report(asked []string) Report {
	report := Report{Doubt: r.doubt}
	if len(r.errors) == 0 {
		return report
	}
	people := newRegister(asked)
	unknown := make(map[string]bool)
	for _, e := range r.errors {
		ids := e.ids
		if len(ids) == 0 {
			ids = people.among(e.others)
		}
		var named []string
		for _, id := range ids {
			ours, wanted := people.find(id)
			switch {
			case wanted && people.open[ours]:
				people.open[ours] = false
				named = append(named, ours)
			case !wanted:
				report.Doubt = "the reply names recipients as not reached that were not asked for: it is not known whom it means"
				if !unknown[id] && len(unknown) < maxUnknown {
					unknown[id] = true
					report.Unknown = append(report.Unknown, id)
				}
			}
		}
		if len(ids) == 0 && report.Doubt == "" {
			report.Doubt = "the reply holds a failure without saying whom it concerns"
		}
		if len(named) > 0 {
			report.Failures = append(report.Failures, Failure{WovenIDs: named, Reason: e.reason})
		}
	}
	return report
}

// register finds those who were asked for.
type register struct {
	asked  []string
	open   map[string]bool   // whether one who was asked for is not yet named
	folded map[string]string // nil until needed; "" where it would be ambiguous
}

func newRegister(asked []string) *register {
	r := &register{asked: asked, open: make(map[string]bool, len(asked))}
	for _, id := range asked {
		r.open[id] = true
	}
	return r
}

// find returns the id that was asked for and is meant by id: the same, or else the only
// one that differs in nothing but case and blanks around it.
func (r *register) find(id string) (string, bool) {
	if _, known := r.open[id]; known {
		return id, true
	}
	if r.folded == nil {
		r.folded = make(map[string]string, len(r.asked))
		for _, ours := range r.asked {
			key := fold(ours)
			if other, taken := r.folded[key]; taken && other != ours {
				ours = ""
			}
			r.folded[key] = ours
		}
	}
	ours := r.folded[fold(id)]
	return ours, ours != ""
}

// among returns those of texts by which somebody is meant who was asked for.
func (r *register) among(texts []string) (ids []string) {
	for _, text := range texts {
		if _, wanted := r.find(text); wanted {
			ids = append(ids, text)
		}
	}
	return ids
}

func fold(id string) string {
	id = strings.TrimFunc(id, func(r rune) bool { return unicode.IsSpace(r) || !unicode.IsPrint(r) })
	return strings.ToLower(strings.ToUpper(id))
}

// clean makes the server's texts fit for logs and dead letters.
func (r *Report) clean(hide private) {
	for i := range r.Failures {
		r.Failures[i].Reason = hide.excerpt(r.Failures[i].Reason, maxDetail)
	}
	for i := range r.Unknown {
		r.Unknown[i] = hide.excerpt(r.Unknown[i], maxUnknownID)
	}
}
