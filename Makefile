# The commands of daily work. CI (.ci/run) uses the same. Needs Go, gcc (for -race) and git; the tools
# are fetched as Go modules and built once, into Go's build cache.

# Everybody uses go.mod's toolchain, even where Go is set up to use only the one installed.
export GOTOOLCHAIN := $(shell awk '$$1 == "toolchain" { print $$2 }' go.mod)

staticcheck   := go run honnef.co/go/tools/cmd/staticcheck@v0.8.2 # release 2026.2.2, which knows Go 1.27
golangci-lint := go run github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0

# The long scenarios have a build tag, and are to be looked at as well.
tags := -tags faults

# Tests that start no processes, and the rules for the code itself: what imports what, how long files are.
quick := $$(go list ./... | grep -v '/cmd/chatrelay$$')
house := $$(sed -n 's/^func \(Test[A-Za-z]*\).*/\1/p' cmd/chatrelay/house*_test.go | paste -sd '|')

.PHONY: help check test faults bench format vet staticcheck lint vuln

help: ## list these commands
	@sed -n 's/^\([a-z]*\):.*## /\1\t/p' Makefile | expand -t 14

check: format vet staticcheck ## before each commit: format, vet, staticcheck and the quick tests; a minute
	go test -short $(quick)
	go test -run "^($(house))$$" ./cmd/chatrelay

test: ## all tests with the race detector, but for the long scenarios
	go test -race -timeout 20m ./...

faults: ## the long scenarios: workers killed, servers lost, floods
	go test -race -tags faults -timeout 20m -run TestFaults ./cmd/chatrelay

bench: ## measure throughput, cost and latency; five minutes on a quiet machine
	go run ./cmd/chatrelay bench

format: ## fail if gofmt would change a file
	@files=$$("$$(go env GOROOT)/bin/gofmt" -l .) && \
	if [ -n "$$files" ]; then echo "gofmt -w is needed for:"; echo "$$files"; exit 1; fi

vet: ## go vet
	go vet $(tags) ./...

staticcheck: ## staticcheck
	$(staticcheck) $(tags) ./...

lint: ## golangci-lint, with the linters of .golangci.yml
	$(golangci-lint) run

vuln: ## govulncheck: fail if a known vulnerability can be reached
	.ci/vuln
