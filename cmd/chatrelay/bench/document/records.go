package document

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/chatrelay/chatrelay/cmd/chatrelay/bench"
)

// records are what invocations of bench have printed, one after another.
type records struct {
	machines []bench.Machine // one for each invocation
	runs     pool
}

// recorded is a run of one invocation, within which pairs are numbered.
type recorded struct {
	bench.Run
	setup      setup
	invocation int
}

func readRecords(path string) (all records, err error) {
	f, err := os.Open(path)
	if err != nil {
		return all, err
	}
	defer f.Close()
	lines := json.NewDecoder(f)
	lines.DisallowUnknownFields()
	for {
		var r bench.Record
		err := lines.Decode(&r)
		switch {
		case errors.Is(err, io.EOF):
			return all, nil
		case err != nil:
			return all, fmt.Errorf("%s: %w", path, err)
		case r.Machine != nil:
			all.machines = append(all.machines, *r.Machine)
		case r.Run == nil: // a summary of one invocation: here they are taken together
		case len(all.machines) == 0:
			return all, fmt.Errorf("%s: a run stands before the machine that made it", path)
		case r.Run.BrokerCPU == 0:
			return all, fmt.Errorf("%s: a run without CPU seconds, of another NATS or system, cannot be compared", path)
		default:
			all.runs = append(all.runs, recorded{*r.Run, setupOf(*r.Run), len(all.machines)})
		}
	}
}
