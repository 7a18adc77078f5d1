package queue

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/nats-io/nats.go/jetstream"
)

// replicate waits until all replicas of a stream and its consumer are current. grown says that they were just
// made more. While NOTIFY_LATER grows, nats-server (2.15.2) takes schedules for published that it could not
// publish, until its leader changes (of 500 that came due meanwhile 226 never fired): so its leader steps down
// afterwards.
func (i *initialization) replicate(ctx context.Context, stream jetstream.Stream, grown bool) error {
	if !grown {
		return nil
	}
	name := stream.CachedInfo().Config.Name
	if err := i.awaitCurrent(ctx, name); err != nil || name != LaterStream {
		return err
	}
	i.cfg.Progress(name + ": its leader steps down, so that all schedules fire")
	err := i.patiently(ctx, name, func() error {
		msg, err := i.q.nc.RequestWithContext(ctx, i.q.apiSubject("STREAM.LEADER.STEPDOWN."+name), nil)
		if err != nil {
			return err
		}
		return apiAnswer(msg.Data)
	})
	if err != nil {
		return fmt.Errorf("step down the leader of %s: %w", name, err)
	}
	return i.awaitCurrent(ctx, name)
}

// awaitCurrent waits until a stream has a leader and all its replicas are current.
func (i *initialization) awaitCurrent(ctx context.Context, name string) error {
	deadline := time.Now().Add(i.cfg.Patience)
	for said := ""; ; {
		state := "no answer"
		stream, err := i.q.js.Stream(ctx, name)
		if err == nil {
			var current bool
			if state, current = replicaState(stream.CachedInfo()); current {
				return nil
			}
		} else if !i.passes(err) {
			return lookupError("stream "+name, err)
		}
		if state != said {
			said = state
			i.cfg.Progress(name + ": " + state)
		}
		if !time.Now().Before(deadline) {
			return fmt.Errorf("stream %s: %w after %v: %s; the servers go on by themselves, run it again", name, errNotCurrent, i.cfg.Patience, state)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(250 * time.Millisecond):
		}
	}
}

var errNotCurrent = errors.New("not all replicas are current")

// replicaState says how many replicas are current.
func replicaState(info *jetstream.StreamInfo) (state string, all bool) {
	if info.Cluster == nil || info.Cluster.Leader == "" {
		return "no leader", false
	}
	current := 1
	for _, p := range info.Cluster.Replicas {
		if p.Current && !p.Offline {
			current++
		}
	}
	return fmt.Sprintf("%d of %d replicas current", current, info.Config.Replicas), current >= info.Config.Replicas
}

// apiAnswer is the error in an answer of the JetStream API to a request that nats.go does not offer.
func apiAnswer(data []byte) error {
	var answer struct {
		Error *jetstream.APIError `json:"error"`
	}
	if err := json.Unmarshal(data, &answer); err != nil {
		return fmt.Errorf("malformed answer: %w", err)
	}
	if answer.Error != nil {
		return answer.Error
	}
	return nil
}
