# Bare `make` lists the targets. Variables can be set on the command line: make fuzz FUZZTIME=2m

VERSION ?= $(or $(shell git describe --tags --always --dirty 2>/dev/null),devel)
COMMIT  ?= $(shell git rev-parse HEAD 2>/dev/null)
DATE    ?= $(shell git log -1 --format=%cI 2>/dev/null)# of the commit, so that a build can be repeated
LDFLAGS := -s -w -X main.version=$(VERSION) -X main.commit=$(COMMIT) -X main.date=$(DATE)

ARGS     ?=#     arguments of run and demo
FUZZTIME ?= 20s# per fuzz target
CRASH_ROUNDS ?= 100
QUIET_DAYS ?= 100
PACING   ?= 1m#  length of a phase of pacing
SOAK     ?= 10m# length of the soak in check-long
BENCH    ?= .#   which benchmarks
COUNT    ?= 1#   runs of each benchmark
ROUNDS   ?= 8#   of gate
RANGE    ?= 200..219# seeds of the scenarios that simulate generates
SEEDS    ?= 1#   runs of each, with different luck
QUIET    ?= 3#   days on which nothing happens

# Tools are built from pinned versions into bin/, under a name that holds the version. The protobuf plugins come in the
# versions of go.mod, so that generated code and runtime agree.
LINT_VERSION := v2.15.0
BUF_VERSION  := v1.75.0
LINT := bin/golangci-lint-$(LINT_VERSION)
BUF  := bin/buf-$(BUF_VERSION)

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help run demo build test test-sdk race vet lint fmt fmt-check check check-long fuzz crash cache-answers cache-keys cache-ratio pacing soak scenarios bench compare compare-state compare-routes compare-optimizer compare-cache performance bench-stats simulate simulate-quiet calibrate calibration gate gate-record generate generate-check image clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-16s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: build ## build and run the proxy (ARGS="--config llmopt.toml")
	bin/llmopt serve $(ARGS)

demo: build ## build, and play a day in two minutes: simulated providers, proxy, optimizer, cache, limits, load; needs no keys
	bin/llmopt demo $(ARGS)

build: ## build bin/llmopt, static
	CGO_ENABLED=0 go build -trimpath -buildvcs=false -ldflags '$(LDFLAGS)' -o bin/llmopt ./cmd/llmopt

# Tests of sockets and processes wait more than they work, so that more of them than there are cores run at once; and what garbage costs is not what they ask about.
test: ## all tests, in random order
	GOGC=400 go test -shuffle=on -p 3 -parallel 4 ./...

test-sdk: build ## the official Node SDKs through the proxy: the same as without it
	cd bench/sdk && npm ci --loglevel=error && npm test

race: ## all tests under the race detector
	GOGC=400 CGO_ENABLED=1 go test -race -shuffle=on -timeout 20m ./...

vet: ## go vet
	go vet ./...

lint: $(LINT) ## golangci-lint, built on first use
	$(LINT) run

fmt: $(LINT) ## format all Go code
	$(LINT) fmt

fmt-check: ## fail when Go code is not formatted
	@files=$$(gofmt -l .) || exit 1; [ -z "$$files" ] || { echo "not formatted (make fmt):"; echo "$$files"; exit 1; }

check: fmt-check vet lint test scenarios cache-answers race ## what every change must pass, within 10 minutes

check-long: check generate-check fuzz calibration simulate-quiet crash cache-keys soak ## check, then every fuzz target, calibration, a hundred quiet days, a hundred crashes, ten million cache keys and a long soak (FUZZTIME, SOAK, CRASH_ROUNDS)

scenarios: build ## run all scenarios in virtual time; fails where an expectation is not met
	@for f in bench/scenarios/*.txt; do bin/llmopt simulate --scenario $$f || exit 1; echo; done

fuzz: ## run every fuzz target for FUZZTIME
	.ci/fuzz $(FUZZTIME)

crash: ## kill servers under load CRASH_ROUNDS times, count what they have stored, damage their caches, and check every answer
	CRASH_ROUNDS=$(CRASH_ROUNDS) go test -count=1 -timeout 2h -run '^TestCrash_(StateIsWhole|CacheNeverLies)' -v ./cmd/llmopt

cache-answers: ## a thousand generated requests of each dialect and form: what the cache answers is what the provider says
	CACHE_ANSWERS=1000 go test -count=1 -run '^TestE2E_CacheSaysWhatTheProviderSays$$' ./cmd/llmopt

cache-keys: ## ten million distinct keys through the cache in memory: what they occupy is what they are said to
	CACHE_KEYS=10000000 go test -count=1 -timeout 1h -run '^TestMemory_CostIsWhatItOccupies' -v ./storage

cache-ratio: ## what the cache in memory saves of Zipf laws and traces, beside the best that could be (OPTIMIZER_DATA=DIR for traces), some minutes
	CACHE_RATIO=1 go test -count=1 -timeout 1h -run '^TestMemory_SavesWhatItCan' -v ./storage

pacing: ## a hidden limit of a provider that goes 100, 60, 100 requests a second, over the wire: how much of it is used, and how much refused (PACING=1m a phase), twelve minutes
	PACING=$(PACING) go test -count=1 -timeout 2h -run '^TestPacing_HiddenLimit' -v ./proxy

soak: ## run the soak tests for SOAK under mixed load and faults
	SOAK=$(SOAK) go test -count=1 -timeout 24h -run '^TestSoak' -v ./...

bench: ## run the benchmarks (BENCH=Record COUNT=10)
	go test -run '^$$' -bench '$(BENCH)' -benchmem -count $(COUNT) ./...

compare: build ## proxies side by side, eight minutes; installs nginx and HAProxy (ARGS=--quick)
	@for p in nginx haproxy; do command -v $$p >/dev/null && continue; \
		echo "installing $$p"; apt-get update -q >/dev/null && DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends $$p >/dev/null \
		|| echo "$$p cannot be installed here: it is left out"; done
	bin/llmopt bench compare $(ARGS)

compare-state: build ## what the state on disk costs: llmopt with and without it, twenty rounds, five minutes
	bin/llmopt bench compare --only llmopt --only llmopt-state --rounds 20 --scenario "1 KB" --results bench/results/state $(ARGS)

compare-routes: build ## what routes cost: llmopt with and without one, twenty rounds, six minutes
	bin/llmopt bench compare --only llmopt --only llmopt-routes --rounds 20 --scenario "1 KB" --results bench/results/routes $(ARGS)

compare-optimizer: build ## what the optimizer costs: a route of three targets with and without it, twenty rounds, five minutes
	bin/llmopt bench compare --only llmopt-optimizer --only llmopt-untuned --rounds 20 --scenario "1 KB" --results bench/results/optimizer $(ARGS)

compare-cache: build ## what hits and misses of the cache cost beside the bare relay and llmopt without a cache, twenty rounds, ten minutes
	bin/llmopt bench compare --only relay --only llmopt --only llmopt-hits --only llmopt-misses --rounds 20 --scenario "1 KB" --results bench/results/cache $(ARGS)

performance: build ## write docs/performance.md from the newest comparison
	bin/llmopt bench report --out docs/performance.md

bench-stats: build ## judge the statistics on public series (OPTIMIZER_DATA=DIR, ARGS="--calibrate 400")
	bin/llmopt bench stats $(ARGS)

simulate: build ## judge the optimizer beside other policies, in virtual time, five minutes (RANGE=200..219 SEEDS=1 QUIET=3, OPTIMIZER_DATA=DIR for traces)
	bin/llmopt simulate --report --range $(RANGE) --seeds $(SEEDS) --quiet $(QUIET) --scenarios bench/scenarios/traces --mitigate bench/scenarios/mitigation \
		--out bench/results/simulate $(ARGS)

simulate-quiet: build ## a hundred quiet days: how often the optimizer interferes, fifteen minutes
	bin/llmopt simulate --report --range "" --quiet 100 --no-static --out bench/results/simulate-quiet

calibrate: ## simulate the thresholds of the change detectors anew, ten minutes
	go generate ./analysis/regime

calibration: ## check by simulation that false alarms are as rare as asked for, and that intervals hold the truth, twenty minutes
	CALIBRATION=1 go test -count=1 -timeout 1h -run 'FalseAlarms|Delays|Sizes|CoverTheTruth' -v ./bench/stats ./bench/simulate ./optimizer ./analysis/...

gate: ## compare the request path's benchmarks with the recorded base (ROUNDS=8)
	.ci/gate $(ROUNDS)

gate-record: ## make the current commit the base of gate
	.ci/gate record

generate: $(BUF) bin/protoc-gen-go bin/protoc-gen-connect-go ## regenerate the code of the admin API
	PATH="$(CURDIR)/bin:$$PATH" $(BUF) generate --path optimizer/control/controlpb --template optimizer/control/controlpb/buf.gen.yaml

generate-check: generate ## fail when generated code differs from what is committed
	@git diff --exit-code -- optimizer/control/controlpb

image: ## build the container image
	docker build --build-arg GO_VERSION=$$(go list -m -f '{{.GoVersion}}') --build-arg VERSION=$(VERSION) \
		--build-arg COMMIT=$(COMMIT) --build-arg DATE=$(DATE) -t llmopt:$(VERSION) -t llmopt:latest .

clean: ## remove what was built
	rm -rf bin llmopt coverage.out

$(LINT):
	GOBIN=$(CURDIR)/bin/install go install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$(LINT_VERSION)
	mv bin/install/golangci-lint $@

$(BUF):
	GOBIN=$(CURDIR)/bin/install go install github.com/bufbuild/buf/cmd/buf@$(BUF_VERSION)
	mv bin/install/buf $@

bin/protoc-gen-go: go.mod
	GOBIN=$(CURDIR)/bin go install google.golang.org/protobuf/cmd/protoc-gen-go
	touch $@

bin/protoc-gen-connect-go: go.mod
	GOBIN=$(CURDIR)/bin go install connectrpc.com/connect/cmd/protoc-gen-connect-go
	touch $@
