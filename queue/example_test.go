package queue_test

import (
	"context"
	"fmt"
	"log"
	"os"

	"github.com/chatrelay/chatrelay/queue"
	"github.com/chatrelay/chatrelay/queue/broker"
)

// connect starts a NATS server for the examples and creates the streams. A service connects to
// one that runs already, and the operator has called chatrelay init.
func connect(ctx context.Context) (q *queue.Queue, stop func()) {
	dir, err := os.MkdirTemp("", "chatrelay")
	if err != nil {
		log.Fatal(err)
	}
	server, err := broker.Start(broker.Config{Dir: dir})
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
		q.Close()
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
	q, stop := connect(ctx)
	defer stop()

	publisher := q.Publisher(queue.PublisherConfig{})
	for range 2 { // publishing again, after a crash say, does no harm
		receipt, err := publisher.Publish(ctx, queue.Normal, coffee)
		if err != nil {
			log.Fatal(err)
		}
		fmt.Printf("%+v\n", receipt)
	}
	// Output:
	// {JobID:order-8731-ready Parts:1 Duplicate:false}
	// {JobID:order-8731-ready Parts:1 Duplicate:true}
}

func ExampleJobs_Next() {
	ctx := context.Background()
	q, stop := connect(ctx)
	defer stop()
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
		fmt.Println(l.Origin(), l.Priority, l.Job.ID, l.Job.WovenIDs)
	}
	if err := queue.Ack(ctx, leases); err != nil { // confirmed: they will not come again
		log.Fatal(err)
	}
	fmt.Println("held:", jobs.Held())
	// Output:
	// urgent-1 urgent order-8731-ready [w-1 w-2]
	// held: 0
}
