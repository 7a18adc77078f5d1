package worker

import (
	"time"

	"github.com/chatrelay/chatrelay/chatapi"
)

// credential is what the projects share that call with one client credential: a gate, which closes when
// the API or its token server does not accept the credential. One project's failures make it suspicious,
// which holds nobody back: the cause may be the project. It closes when another project fails as well and
// none succeeds in between, or at once when there is no token. Then one call at a time probes it, of any
// of the projects, and the waits grow for all of them together.
type credential struct {
	gate     gate
	probing  bool // a call is in flight that probes it; kept by permits
	projects []*project
}

// sharedFailures is how many calls fail in a row before failures of which a message may be the cause (403)
// are taken for the credential's: a gateway may object to the messages of a few projects.
const sharedFailures = 16

// failing reports whether calls with the credential are known to fail.
func (c *credential) failing() bool { return c != nil && c.gate.wide }

// mayProbe is when the credential may be probed with a call of a project that has a gate of its own. A
// project that failed comes a little after those that did not: it may be the only one that fails.
func (c *credential) mayProbe(g *gate) time.Time {
	if g.err != nil {
		return c.gate.until.Add(probeStep)
	}
	return c.gate.until
}

// ended learns from a call of a project, which may have probed it, and reports what that did to the gate.
func (c *credential) ended(now, began time.Time, project string, probe bool, res *result, jitter float64) gateTurn {
	switch err := res.err; {
	case res.accepted():
		wide := c.gate.wide
		if !wide {
			c.gate.failed = 0
		}
		if c.gate.succeed(began) && wide {
			return gateOpened
		}
	case err.Kind == chatapi.Credential && !c.gate.wide && err.MayConcernMessage() && c.gate.failed < sharedFailures:
		c.gate.failed++
	case err.Kind == chatapi.Credential:
		c.gate.fail(now, began, err, project, true, jitter)
		if c.gate.wide {
			return gateFailed
		}
	}
	if probe { // it told nothing of the credential
		c.gate.until = later(c.gate.until, now.Add(gateFirst))
		return gateFailed
	}
	return gateUntouched
}

// credentialKey is the key of the credential that a project calls with; nil: of none that others may share.
func (s *schedule) credentialKey(id string) any {
	if s.cfg.Credential == nil {
		return nil
	}
	return s.cfg.Credential(id)
}

// adopt gives a project the credential that it calls with now, and reports whether that is another one.
func (s *schedule) adopt(id string, p *project) bool {
	k := s.credentialKey(id)
	if k == p.credentialKey {
		return false
	}
	s.abandon(p)
	if p.credentialKey = k; k != nil {
		c := s.credentials[k]
		if c == nil {
			c = &credential{}
			s.credentials[k] = c
		}
		p.credential, p.place = c, len(c.projects)
		c.projects = append(c.projects, p)
	}
	return true
}

// abandon takes the project from those with its credential. A call in flight that probes that keeps
// it, see permit.
func (s *schedule) abandon(p *project) {
	if c := p.credential; c != nil {
		last := len(c.projects) - 1
		c.projects[p.place], c.projects[last].place = c.projects[last], p.place
		c.projects[last] = nil // so that it is not kept from here
		c.projects = c.projects[:last]
	}
	p.credential, p.credentialKey = nil, nil
}

// forgetCredentials drops those of which nothing is to be remembered.
func (s *schedule) forgetCredentials(now time.Time) {
	for k, c := range s.credentials {
		if len(c.projects) == 0 && (c.gate.err == nil || now.Sub(c.gate.until) > gateMemory) {
			delete(s.credentials, k)
		}
	}
}

// probeStep is how far apart the projects are probed for whom a common cause may be gone.
const probeStep = 10 * time.Millisecond

// applyShared has all projects with a credential follow what became of its gate. It returns the tasks that
// are to wait elsewhere. When it opened, the projects' own gates are probed soon that closed for the same
// cause.
func (s *schedule) applyShared(now time.Time, c *credential, turn gateTurn) (tasks []*task) {
	at := now
	for _, p := range c.projects {
		if turn == gateOpened && p.gate.err != nil && p.gate.err.Kind == chatapi.Credential && p.gate.probeAt(at) {
			p.wake(at)
			at = at.Add(probeStep)
		}
		tasks = append(tasks, s.holdBack(now, p)...)
		s.requeueAll(now, p)
	}
	return tasks
}

// credentialsChanged asks anew which credential each project has, and has those probed soon that have
// another one.
func (s *schedule) credentialsChanged(now time.Time) {
	at := now
	for id, p := range s.projects {
		if !s.adopt(id, p) {
			continue
		}
		if p.gate.probeAt(at) {
			p.wake(at)
			at = at.Add(probeStep)
		}
		s.recount(p)
		s.requeueAll(now, p)
	}
}
