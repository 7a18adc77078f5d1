package queue_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"
	"time"

	"github.com/chatrelay/chatrelay/queue"
	"github.com/chatrelay/chatrelay/queue/broker"
)

// connect starts a NATS server for the examples and creates the streams. A service calls only
// queue.Connect: its server runs already, with the streams on it.
func connect(ctx context.Context) (q *queue.Queue, stopServer func()) {
	dir, err := os.MkdirTemp("", "chatrelay")
	if err != nil {
		log.Fatal(err)
	}
	// The sync interval is for tests under the race detector; see its documentation.
	server, err := broker.Start(broker.Config{Dir: dir, SyncInterval: time.Hour})
	if err != nil {
		log.Fatal(err)
	}
	q, err = queue.Connect(ctx, queue.Config{URL: server.URL(), Name: "coffee-shop"})
	if err != nil {
		log.Fatal(err)
	}
	if _, err := q.Init(ctx, queue.InitConfig{}); err != nil {
		log.Fatal(err)
	}
	return q, func() {
		server.Stop()
		_ = os.RemoveAll(dir)
	}
}

var coffee = queue.Job{
	ID:        "order-8731-ready",
	ProjectID: "0f8fad5b-d9cb-469f-a165-70867728950e",
	Message:   "Your coffee is ready.",
	WovenIDs:  []string{"w-1", "w-2"},
}

func ExamplePublisher() {
	ctx := context.Background()
	q, stopServer := connect(ctx)
	defer stopServer()
	defer q.Close()

	publisher := q.Publisher(queue.PublisherConfig{})
	for range 2 { // publishing again, after a crash say, does no harm
		receipt, err := publisher.Publish(ctx, queue.Normal, coffee)
		switch {
		case errors.Is(err, queue.ErrInvalid), errors.Is(err, queue.ErrTooLarge):
			log.Fatalf("never publish job %s again: %v", receipt.JobID, err)
		case err != nil: // such as queue.ErrFull
			log.Fatalf("publish job %s again later, with the same id: %v", receipt.JobID, err)
		}
		fmt.Printf("%+v\n", receipt)
	}
	// Output:
	// {JobID:order-8731-ready Parts:1 Duplicate:false}
	// {JobID:order-8731-ready Parts:1 Duplicate:true}
}

// The trace context of a request comes with the job to the worker, and is there whenever the job is
// leased again.
func ExamplePublisher_PublishWithHeaders() {
	ctx := context.Background()
	q, stopServer := connect(ctx)
	defer stopServer()
	defer q.Close()

	// With OpenTelemetry:
	//	headers := propagation.HeaderCarrier{}
	//	otel.GetTextMapPropagator().Inject(ctx, headers)
	headers := map[string][]string{"traceparent": {"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}}
	receipt, err := q.Publisher(queue.PublisherConfig{}).PublishWithHeaders(ctx, queue.Normal, coffee, headers)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(receipt.JobID)
	// Output:
	// order-8731-ready
}

func ExampleJobs_Next() {
	ctx := context.Background()
	q, stopServer := connect(ctx)
	defer stopServer()
	defer q.Close()
	if _, err := q.Publisher(queue.PublisherConfig{}).Publish(ctx, queue.Urgent, coffee); err != nil {
		log.Fatal(err)
	}

	jobs, err := q.Jobs(ctx, queue.JobsConfig{})
	if err != nil {
		log.Fatal(err)
	}
	defer jobs.Close()
	leases, err := jobs.Next(ctx)
	if err != nil {
		log.Fatal(err)
	}
	for _, l := range leases {
		fmt.Println(l.Seq, l.Priority, l.Job.ID, l.Job.WovenIDs)
	}
	if err := queue.Ack(ctx, leases); err != nil { // confirmed: they will not come again
		log.Fatal(err)
	}
	fmt.Println("held:", jobs.Held())
	// Output:
	// 1 urgent order-8731-ready [w-1 w-2]
	// held: 0
}
