package worker

import (
	"fmt"
	"testing"
	"time"

	"github.com/chatrelay/chatrelay/chatapi"
)

// What an API takes in a call is found by few refusals, whatever it is, and is not mistaken for what a bad
// recipient or message does.
func TestCallSize(t *testing.T) {
	now := time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC)
	// call makes one call of an API that takes so many recipients, and returns whether it took it.
	call := func(c *callSize, takes, most int, message string) (recipients int, taken bool) {
		recipients = c.limit(now, most)
		c.begin(recipients)
		if recipients > takes {
			c.refuse(now, recipients, message)
			return recipients, false
		}
		c.accept(recipients)
		return recipients, true
	}
	for _, takes := range []int{1, 2, 3, 7, 50, 99, 100, 250, 499, 500} {
		var c callSize
		refused := 0
		for i := range 100 {
			if _, taken := call(&c, takes, 500, fmt.Sprint(i)); !taken {
				refused++
			}
		}
		if n := c.limit(now, 500); n > takes || n < takes-takes/16-1 || refused > 17 {
			t.Errorf("an API that takes %d: calls of %d after %d refusals", takes, n, refused)
		}
	}

	var c callSize
	c.refuse(now, 500, "one")
	c.refuse(now, 500, "one")
	if n := c.limit(now, 500); n != 500 {
		t.Errorf("calls of %d after one message was refused", n)
	}
	c.accept(500)
	c.refuse(now, 400, "two")
	if n := c.limit(now, 500); n != 500 {
		t.Errorf("calls of %d after two messages were refused, and one as large accepted between", n)
	}
	c.refuse(now, 1, "three")
	if n := c.limit(now, 500); n != 500 {
		t.Errorf("calls of %d after a call for one was refused", n)
	}
	c.refuse(now, 300, "four")
	if n := c.limit(now, 500); n != 150 {
		t.Errorf("calls of %d after two messages were refused, 400 and 300 recipients; want 150", n)
	}
	if c.known() != 0 {
		t.Errorf("%d are held to be known", c.known())
	}
	c.explained()
	if n := c.limit(now, 500); n != 500 {
		t.Errorf("calls of %d after it was a recipient", n)
	}

	c.confirm(now, 100, 200)
	c.explained() // another refusal was
	if n := c.limit(now, 500); n != 150 || c.known() != 100 {
		t.Errorf("calls of %d, %d known after 100 were accepted and 200 refused; want 150 and 100", n, c.known())
	}
	c.begin(150)
	if n := c.limit(now, 500); n != 100 {
		t.Errorf("calls of %d beside a trial, want 100", n)
	}
	c.refuse(now, 150, "five")
	c.begin(125)
	c.refuse(now, 90, "six") // of a bad recipient
	c.accept(125)
	if n := c.limit(now, 500); n != 137 || c.known() != 125 {
		t.Errorf("calls of %d, %d known; want 137 and 125", n, c.known())
	}

	now = now.Add(sizeAgain + time.Second)
	if n := c.limit(now, 500); n != 250 {
		t.Errorf("calls of %d after ten minutes, want 250", n)
	}
	if n := c.limit(now, 200); n != 200 {
		t.Errorf("calls of %d where 200 are the most", n)
	}
	c.begin(250)
	c.refuse(now, 250, "seven")
	if n := c.limit(now, 500); n > 250 || c.known() != 125 {
		t.Errorf("calls of %d, %d known after the trial failed", n, c.known())
	}
	now = now.Add(sizeAgain + time.Second)
	c.begin(250)
	c.accept(250)
	if n := c.limit(now, 500); n != 500 || c.known() != 0 {
		t.Errorf("calls of %d, %d known after the API took more", n, c.known())
	}

	c = callSize{}
	c.confirm(now, 200, 200) // not possible
	c.confirm(now, 50, 60)
	c.refuse(now, 50, "eight")
	c.refuse(now, 40, "nine") // it takes less than before
	if n := c.limit(now, 500); n != 20 {
		t.Errorf("calls of %d after the API took less, want 20", n)
	}
}

// A trial that was given up is not waited for, and an API that takes less than before does not take more.
func TestCallSizeAfterASurprise(t *testing.T) {
	now := time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC)
	b := newBatch(key{message: "m"}, now)
	c := callSize{accepted: 100, refused: 200, sure: true, again: now.Add(sizeAgain)}
	c.begin(150)
	if n := c.limit(now, 500); n != 100 {
		t.Errorf("calls of %d beside a trial", n)
	}
	c.learn(now, b, &result{})
	if n := c.limit(now, 500); n != 150 {
		t.Errorf("calls of %d after a trial that was given up, want another one", n)
	}
	for _, message := range []string{"one", "two"} {
		b.key.message = message
		refused := &result{recipients: 100, err: &chatapi.Error{Kind: chatapi.Refused, Status: 400}}
		if changed, _ := c.learn(now, b, refused); changed {
			t.Errorf("after calls of 100 were refused, %d is said to be what the API takes", c.known())
		}
	}
	if n := c.limit(now, 500); n != 50 {
		t.Errorf("calls of %d after calls of 100 were refused", n)
	}
}
