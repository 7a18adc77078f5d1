package broker_test

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/chatrelay/chatrelay/queue"
	"github.com/chatrelay/chatrelay/queue/broker"
)

// announce is the code of a service that is to be tested.
func announce(ctx context.Context, p *queue.Publisher, guest string) error {
	_, err := p.Publish(ctx, queue.Normal, queue.Job{
		ID: "order-8731-ready", ProjectID: "0f8fad5b-d9cb-469f-a165-70867728950e",
		Message: "Your coffee is ready.", WovenIDs: []string{guest},
	})
	return err
}

// A service's own test looks like this. It needs no server and no network beyond loopback.
func TestAnnounce(t *testing.T) {
	ctx := t.Context()
	// The sync interval is for tests under the race detector; see its documentation.
	server, err := broker.Start(broker.Config{Dir: t.TempDir(), SyncInterval: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	defer server.Stop()
	q, err := queue.Connect(ctx, queue.Config{URL: server.URL()})
	if err != nil {
		t.Fatal(err)
	}
	defer q.Close()
	if _, err := q.Init(ctx, queue.InitConfig{}); err != nil {
		t.Fatal(err)
	}

	if err := announce(ctx, q.Publisher(queue.PublisherConfig{}), "w-1"); err != nil {
		t.Fatal(err)
	}

	jobs, err := q.Jobs(ctx, queue.JobsConfig{})
	if err != nil {
		t.Fatal(err)
	}
	defer jobs.Close()
	leases, err := jobs.Next(ctx) // what a worker would get
	if err != nil {
		t.Fatal(err)
	}
	if job := leases[0].Job; job.Message != "Your coffee is ready." || !slices.Equal(job.WovenIDs, []string{"w-1"}) {
		t.Errorf("published %+v", job)
	}
}
