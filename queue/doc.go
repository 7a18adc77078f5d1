// Package queue keeps notification jobs, leases and dead letters on NATS JetStream.
//
// It is the only package that knows NATS, and application services import it to publish:
//
//	Publisher ──▶ NOTIFY_URGENT, NOTIFY_NORMAL, NOTIFY_BULK ──▶ Jobs.Next ──▶ *Lease
//	                         ▲                                                 │
//	                    Dead.Replay                          Ack, Release, Defer or Split
//	                         │                                                 │
//	                    NOTIFY_DEAD ◀── Bury                NOTIFY_LATER ◀─────┘
//
// Its invariant: a job is in exactly one stream from the moment that its publication was
// acknowledged until a worker settles it, and every move to another stream is acknowledged there
// before the job is acked here. A crash between the two repeats work; it never loses any.
//
// How it fails: errors from the server come back wrapped with what was being done and to which
// job; nothing is dropped on an error. A connection that breaks is ridden out by nats.go; leases
// that could not be renewed meanwhile report [Lease.Lapsed].
package queue
