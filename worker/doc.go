// Package worker turns leased jobs into calls, and settles each job by the outcome of each of its
// recipients.
//
//	Source.Next ─▶ core.add ─▶ schedule ─▶ core.nextCall ─▶ runCall: Send, record ─▶ core.callEnded
//	                   │          ▲         (permits)                                    │     │
//	                   │          └──────────────── what has to go again ◀───────────────┘     │
//	                   ▼                                                                       ▼
//	               completer: acks, letters, deferrals ◀──────────────── what has its outcome ─┘
//	                   │
//	                   └─▶ core.nextWork ─▶ handle: settle (Bury, then Ack or Defer) ─▶ core.workEnded
//
// The core decides. It is a plain value without clock, goroutine or lock; time is passed in. Its
// parts are the schedule (which batch is next), permits (whether a call may begin, and why not) and
// the completer (what ends together). One goroutine, [Worker.Run], owns it. Calls and handlers are
// goroutines beside it: each owns its batch or its tasks until it hands them back over one channel.
//
// The invariant: a job is acked only when each of its recipients is delivered, or stands in a
// dead letter that the server has acknowledged, or in a job published anew; settle alone acks. A
// call that fails never waits while holding a slot: it goes back to the schedule, its project's
// gate closes for a while, and jobs that would wait long are deferred to the queue.
//
// The package knows neither NATS nor HTTP nor any log or metrics library; it reports to a hook. The
// stories in testdata/stories show what the core does, rule by rule.
package worker
