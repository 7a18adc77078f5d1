package document

import (
	"cmp"
	"slices"

	"github.com/chatrelay/chatrelay/cmd/chatrelay/bench"
)

// pool is some runs.
type pool []recorded

func (p pool) only(keep func(recorded) bool) pool {
	return slices.DeleteFunc(slices.Clone(p), func(r recorded) bool { return !keep(r) })
}

func (p pool) by(program string) pool {
	return p.only(func(r recorded) bool { return r.Program == program })
}

// like are the runs of a setup, whatever they are at some axes.
func (p pool) like(s setup, whatever ...axis) pool {
	return p.only(func(r recorded) bool {
		for _, a := range whatever {
			r.setup.is[a] = s.is[a]
		}
		return r.setup == s
	})
}

// setups are those of the runs, each once.
func (p pool) setups() []setup {
	var all []setup
	for _, r := range p {
		all = append(all, r.setup)
	}
	slices.SortFunc(all, func(a, b setup) int {
		return cmp.Or(cmp.Compare(a.workload, b.workload), slices.Compare(a.is[:], b.is[:]))
	})
	return slices.Compact(all)
}

// each calls do for every setup and program.
func (p pool) each(do func(setup, string, pool)) {
	for _, s := range p.setups() {
		for _, program := range []string{bench.ProgramBare, bench.ProgramWorker} {
			if runs := p.like(s).by(program); len(runs) > 0 {
				do(s, program, runs)
			}
		}
	}
}
