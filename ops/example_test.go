package ops_test

import (
	"context"
	"fmt"

	"github.com/chatrelay/chatrelay/ops"
	"github.com/chatrelay/chatrelay/queue"
)

// Show what would be replayed, and replay exactly that.
func Example() {
	ctx := context.Background()
	url, stopServer := startServer() // in production NATS runs on its own
	defer stopServer()
	q, err := queue.Connect(ctx, queue.Config{URL: url})
	if err != nil {
		panic(err)
	}
	defer q.Close()
	if _, err := q.Init(ctx, queue.InitConfig{}); err != nil {
		panic(err)
	}

	o := ops.New(q)
	plan, err := o.Plan(ctx, ops.Replay, queue.Filter{Reason: queue.Exhausted})
	if err != nil {
		panic(err)
	}
	fmt.Println(len(plan.Seqs), "letters to replay")
	result, err := o.Act(ctx, plan, nil)
	fmt.Println(result.Done, "replayed", err)
	// Output:
	// 0 letters to replay
	// 0 replayed <nil>
}
