.DEFAULT_GOAL := help
.PHONY: help demo build test race fuzz torture planted bench gen golden lint ci web peers
help:    ## this list
	@awk -F':.*## ' '/^[a-z]+:.*## /{printf "%-8s %s\n", $$1, $$2}' Makefile
demo: web ## a pumping station and its twin, in one process
	go run ./cmd/twinlog demo $(ARGS)
build: web ## binaries into bin/
	go build -trimpath -o bin/ ./cmd/...
test: peers web ## every test, with real brokers, browsers and clients
	go test -shuffle=on -count=1 -timeout 15m ./...
race:    ## the same with the race detector, randomised suites shortened
	go test -race -short -shuffle=on -count=1 ./...
fuzz:    ## everything CI does, with five million inputs to every decoder
	.ci/run 5000000
torture: ## the randomised suites for an hour each, in slices that resume
	test/torture.sh
planted: ## named mistakes, built in one after the other, must be found by random histories
	test/planted.sh
bench:   ## hot paths beside their peers and limits, as ratios
	go run ./bench
	cd bench/peers && go run .
gen:     ## GraphQL code from its schema
	go tool gqlgen generate
golden:  ## golden files for event types that have none; never rewrites one
	go test ./domain/... -update
lint:    ## formatting, linters, import rule
	golangci-lint run ./... && go test -run TestImports .
ci:      ## exactly what CI runs
	.ci/run
web:     ## the GraphQL IDE from npm's locked versions, where Node is present
	@if command -v npm >/dev/null; then web/build.sh; else echo "no Node here: the plain query page stands in for the IDE"; fi
peers:   ## the npm programs that tests talk to, where Node is present
	@if command -v npm >/dev/null; then test/peers/install.sh; fi
