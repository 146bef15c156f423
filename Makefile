# Everything here also runs by hand; `make check` is what a change has to pass.
SHELL       := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

GO          ?= go
BIN         := bin
TOOLS       := .cache/tools
GOLANGCI_VERSION := 2.15.0
GOLANGCI    := $(TOOLS)/golangci-lint-$(GOLANGCI_VERSION)
SQLC        := github.com/sqlc-dev/sqlc/cmd/sqlc@v1.31.1
GOVULNCHECK := golang.org/x/vuln/cmd/govulncheck@v1.9.0

VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
LDFLAGS := -s -w -X xvault/cmd.version=$(VERSION)

# The race detector multiplies memory, so limits of memory are tested without it;
# and so is what reads hundreds of megabytes, byte by byte to the detector.
MEMORY := $(GO) test -run 'Memory|ExportR' -timeout 40m

# At the end of a process the race detector waits a second for more races unless
# it is told otherwise, and that a hundred times.
RACE := CGO_ENABLED=1 GORACE=atexit_sleep_ms=0 $(GO) test -race

# What `go test` runs; e.g. make test PKG=./hub/... ARGS='-run TestJobs -v'
PKG  ?= ./...
ARGS ?=

.PHONY: help
help: ## Show this
	@awk 'BEGIN {FS = ":.*## "} /^[a-z-]+:.*## / {printf "  \033[1m%-12s\033[0m %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: build
build: ## Build bin/xvault: one static binary
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags '$(LDFLAGS)' -o $(BIN)/xvault .

.PHONY: deps
deps: ## Install what tests and demo need (apt, when root); nothing happens if all is there
	@packaging/deps.sh

.PHONY: test
test: deps ## Run every test against real servers that it starts itself
	$(RACE) -shuffle=on -timeout 40m $(ARGS) $(PKG)
	$(MEMORY) ./archive

.PHONY: test-long
test-long: deps ## Run the tests that take long as well
	$(RACE) -shuffle=on -timeout 90m -tags long $(ARGS) $(PKG)
	$(MEMORY) -tags long ./archive ./e2e

# What `make bench` measures: names or their beginnings, with commas between;
# `.cache/bench/peers -list` lists them. RUNS is how many pairs at most, QUICK=1
# takes an eighth of the data. DOCS=docs/benchmarks.md puts the table there.
BENCH ?=
RUNS  ?= 7
QUICK ?=
DOCS  ?=

.PHONY: bench
bench: ## Hold xVault against the stock tools, in one table; e.g. make bench BENCH=ssh,restore/go RUNS=3
	@packaging/deps.sh bench
	@mkdir -p .cache/bench
	@CGO_ENABLED=0 $(GO) build -trimpath -ldflags '$(LDFLAGS)' -o .cache/bench/peers ./e2e/bench/peers
	@.cache/bench/peers -only '$(BENCH)' -runs $(RUNS) -docs '$(DOCS)' $(if $(QUICK),-quick)
	@if [ -z '$(BENCH)' ]; then $(MAKE) --no-print-directory microbench PKG='./archive/...'; fi

.PHONY: microbench
microbench: deps ## Run Go's own benchmarks; those of hub and worker: make microbench PKG=./e2e/bench
	$(GO) test -run '^$$' -bench . -benchmem -timeout 60m $(ARGS) $(PKG)

.PHONY: lint
lint: $(GOLANGCI) ## Check the code with golangci-lint
	$(GOLANGCI) run ./...

.PHONY: fmt
fmt: $(GOLANGCI) ## Format the code
	$(GOLANGCI) fmt ./...

.PHONY: check
check: test lint demo ## What a change has to pass: what CI runs

.PHONY: demo
demo: deps ## Back up a real tree from a real SSH server, open it with stock tools, compare
	@CGO_ENABLED=0 $(GO) build -trimpath -ldflags '$(LDFLAGS)' -o $(BIN)/xvault .
	@$(BIN)/xvault dev --demo

.PHONY: generate
generate: ## Generate the catalog's query code from its SQL, and the OpenAPI document
	cd store/catalog && $(GO) run $(SQLC) generate
	$(GO) test ./hub/api -run '^TestOpenAPI$$' -update

.PHONY: vuln
vuln: ## Look for known vulnerabilities in what the code calls
	$(GO) run $(GOVULNCHECK) ./...

.PHONY: clean
clean: ## Remove what was built
	rm -rf $(BIN) .cache

# One file a version, so that another pin builds another tool. Building it takes
# minutes, so one of that version that is installed already does as well.
$(GOLANGCI):
	@mkdir -p $(TOOLS)
	@if [ "$$(golangci-lint version --short 2>/dev/null)" = $(GOLANGCI_VERSION) ]; then \
	  ln -sf "$$(command -v golangci-lint)" $@; \
	else \
	  echo "Building golangci-lint $(GOLANGCI_VERSION) ..." >&2; \
	  GOBIN=$(CURDIR)/$(TOOLS) $(GO) install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v$(GOLANGCI_VERSION); \
	  mv $(TOOLS)/golangci-lint $@; \
	fi
