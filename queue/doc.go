// Package queue keeps notification jobs, leases and dead letters on NATS JetStream.
//
// It is the only package that knows NATS, and application services import it to publish:
//
//	Publisher ──▶ NOTIFY_URGENT, NOTIFY_NORMAL, NOTIFY_BULK ──▶ Jobs.Next ──▶ *Lease
//	                                                                ▲            │
//	                                                              (due)   Ack, Release or Defer
//	                                                                │            │
//	Queue.Bury ──▶ NOTIFY_DEAD ── Queue.Replay ──────────────▶ NOTIFY_LATER ◀────┘
//
// Its invariant: a job is in exactly one stream from the moment that its publication was
// acknowledged until a worker settles it. A move to another stream is acknowledged there before the
// job is acked here; a crash between the two repeats work and loses none.
//
// What is remembered of a job on its way, its [History], moves with it: the attempts so far, and the
// headers that the producer sent, such as trace context.
//
// How it fails: errors say what was being done and to which job, and wrap those listed in this
// package ([ErrMissing], [ErrFull], [ErrInvalid] and others) for errors.Is. Nothing is dropped on an
// error. The client restores a lost connection; leases that could not be renewed meanwhile report
// [Lease.Lapsed].
package queue
