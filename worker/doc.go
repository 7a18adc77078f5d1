// Package worker turns leased jobs into calls and settles them by what became of each recipient.
//
//	Source.Next ─▶ schedule.add ─▶ schedule.next ─▶ Sender.Send ─▶ batch.record ─▶ settle: Bury, then Ack
//	                    ▲       (slot, gate and turn)                    │
//	                    └────────────── what has to go again ◀──────────┘
//
// What goes into a call (batch) and when a project may call (gate, schedule) are plain values
// without clock, goroutine or lock: time is passed in. One goroutine, [Worker.Run], owns them. A
// batch that was granted a call belongs to the goroutine that carries it, from sending to
// settling, and then comes back to Run.
//
// The invariant: a job is acked only when each of its recipients is delivered, or stands in a
// dead letter that the server has acknowledged, or in a job published anew; settle alone acks. A
// call that fails never waits while holding a slot: it goes back to the schedule, its project's
// gate closes for a while, and jobs that would wait long are deferred to the queue.
//
// The package knows neither NATS nor HTTP nor any log or metrics library; it reports to a hook.
package worker
