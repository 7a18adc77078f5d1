package queue

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// MinServer is the oldest version of nats-server that works: the first with schedules at a time.
const MinServer = "2.12.0"

// leastLevel is the API level of JetStream in [MinServer].
const leastLevel = 2

// lookAtServer finds out whether the server is new enough, and the limits of the account.
func (i *initialization) lookAtServer(ctx context.Context) error {
	var info *jetstream.AccountInfo
	err := i.patiently(ctx, "JetStream", func() (err error) {
		info, err = i.q.js.AccountInfo(ctx)
		return err
	})
	if err != nil {
		return lookupError("the JetStream account", err)
	}
	// Of a leaf node's JetStream domain the server that is connected to says nothing: the level counts.
	if info.API.Level < leastLevel {
		return fmt.Errorf("%w: %s or later is needed, the server is %s (API level %d); nothing was created",
			ErrTooOld, MinServer, i.q.nc.ConnectedServerVersion(), info.API.Level)
	}
	i.account = info.Limits
	replicas := max(1, i.cfg.Replicas)
	for name, tier := range info.Tiers { // by replicas: R1, R3
		if strings.TrimPrefix(name, "R") == strconv.Itoa(replicas) {
			i.account = tier.Limits
		}
	}
	return nil
}

// Error codes of the JetStream API; they are listed in errors.json of nats-server.
const (
	codeNoPeers         jetstream.ErrorCode = 10005 // no suitable peers for placement, too few servers
	codeNoLeader        jetstream.ErrorCode = 10008 // JetStream system temporarily unavailable
	codeMostAckPending  jetstream.ErrorCode = 10121 // consumer max ack pending exceeds system limit of N
	codeInvalidConfig   jetstream.ErrorCode = 10052
	codeStreamOffline   jetstream.ErrorCode = 10118
	codeConsumerOffline jetstream.ErrorCode = 10119
	codeMostStreams     jetstream.ErrorCode = 10027
	codeMostConsumers   jetstream.ErrorCode = 10026
	codeNoReplicas      jetstream.ErrorCode = 10074 // replicas > 1 not supported in non-clustered mode
	codeNoStorage       jetstream.ErrorCode = 10047
	codeAccountStorage  jetstream.ErrorCode = 10028
	codeBytesRequired   jetstream.ErrorCode = 10113
	codeMostStreamBytes jetstream.ErrorCode = 10122
	codeNoLimitsOfTier  jetstream.ErrorCode = 10120
)

// explain gives a failure to create or change something its type, or says which limit was reached.
func (i *initialization) explain(what string, err error) error {
	if api, ok := errors.AsType[*jetstream.APIError](err); ok {
		hint := ""
		switch api.ErrorCode {
		case codeMostStreams:
			hint = fmt.Sprintf("five streams are needed, the account may have %d", i.account.MaxStreams)
		case codeMostConsumers:
			hint = fmt.Sprintf("each of four streams needs one consumer, and counting letters one more; the account may have %d", i.account.MaxConsumers)
		case codeNoReplicas, codeNoPeers:
			hint = fmt.Sprintf("%d replicas need as many servers with JetStream in one cluster", max(1, i.cfg.Replicas))
		case codeNoLimitsOfTier:
			hint = fmt.Sprintf("the account has no limits for streams with %d replicas", max(1, i.cfg.Replicas))
		case codeNoStorage, codeAccountStorage:
			hint = "the streams reserve their max_bytes, times the replicas, and the server has to have them"
			if i.account.MaxStore > 0 {
				hint += fmt.Sprintf("; the account may store %d bytes", i.account.MaxStore)
			}
		case codeMostStreamBytes:
			hint = fmt.Sprintf("a stream of the account may have max_bytes of %d", i.account.StoreMaxStreamBytes)
		case codeBytesRequired:
			hint = "the account demands a max_bytes of every stream"
		}
		if hint != "" {
			return fmt.Errorf("%s: %w; %s", what, err, hint)
		}
	}
	return fmt.Errorf("%s: %w", what, err)
}

// patiently does something until it succeeds, fails for good, or the patience is over. A cluster that has just
// been started has no leader yet, or knows too few of its servers.
func (i *initialization) patiently(ctx context.Context, what string, do func() error) error {
	deadline := time.Now().Add(i.cfg.Patience)
	for said := ""; ; {
		err := do()
		if err == nil || !i.passes(err) || !time.Now().Before(deadline) {
			return err
		}
		if text := err.Error(); text != said {
			said = text
			i.cfg.Progress(what + ": waiting for the cluster: " + text)
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(250 * time.Millisecond):
		}
	}
}

// passes reports whether an error may be over soon: only a cluster has such.
func (i *initialization) passes(err error) bool {
	if i.q.nc.ConnectedClusterName() == "" {
		return false
	}
	if api, ok := errors.AsType[*jetstream.APIError](err); ok {
		switch api.ErrorCode {
		case codeNoPeers, codeNoLeader, codeStreamOffline, codeConsumerOffline:
			return true
		}
		return false
	}
	return errors.Is(err, nats.ErrNoResponders) || errors.Is(err, nats.ErrTimeout) || errors.Is(err, context.DeadlineExceeded) || errors.Is(err, jetstream.ErrJetStreamNotEnabled)
}

// isWindowLimit reports whether a stream was refused for its duplicate window. The server has no code for that.
func isWindowLimit(err error) bool {
	api, ok := errors.AsType[*jetstream.APIError](err)
	return ok && api.ErrorCode == codeInvalidConfig && strings.Contains(api.Description, "duplicates window")
}

var digits = regexp.MustCompile(`[0-9]+$`)

// ackPendingLimit is the limit for which a consumer was refused.
func ackPendingLimit(err error) (int, bool) {
	api, ok := errors.AsType[*jetstream.APIError](err)
	if !ok || api.ErrorCode != codeMostAckPending {
		return 0, false
	}
	most, err := strconv.Atoi(digits.FindString(api.Description))
	return most, err == nil && most >= leastAckPending
}
