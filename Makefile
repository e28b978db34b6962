SHELL := /bin/sh
.DEFAULT_GOAL := help

# Empty without git; the binary then falls back to its build info.
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null)
LDFLAGS := -s -w $(if $(VERSION),-X main.version=$(VERSION))
GOLANGCI_LINT := go tool -modfile=tools/lint/go.mod golangci-lint
SCRIPTS := $(wildcard deploy/*.sh deploy/compose/*.sh) alerts/render tools/deps tools/fuzz
FUZZTIME ?= 10s

# What tests and checks call besides Go, as command:package of Debian.
# build-essential: the race detector needs a C compiler and its headers.
# busybox: the shell of Alertmanager's image.
DEPS := curl:curl awk:mawk dash:dash gcc:build-essential git:git busybox:busybox \
	prometheus:prometheus promtool:prometheus amtool:prometheus-alertmanager systemd-analyze:systemd pg_ctlcluster:postgresql

.PHONY: help demo run build deps test test-newest soak bench fuzz lint fmt check clean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "%-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: ## Run against a simulated Chatwoot; needs no configuration
	go run ./cmd/chatwoot-sla demo

run: ## Run the daemon with the settings of .env
	go run ./cmd/chatwoot-sla serve

build: ## Build bin/chatwoot-sla, static
	CGO_ENABLED=0 go build -trimpath -ldflags '$(LDFLAGS)' -o bin/ ./cmd/chatwoot-sla

deps: ## Install what tests call (as root on Debian), or name what is missing
	@tools/deps $(DEPS)

test: deps ## Run all tests with the race detector
	go test -race -timeout 60m ./...

# Debian's are years old; these are what new installations run. The service
# discovery that is left out, all but DNS, is most of Prometheus.
test-newest: deps ## Test alerting on Prometheus 3 and Alertmanager 0.31
	go build -C tools/prometheus -tags remove_all_sd,enable_dns_sd -trimpath -o '$(CURDIR)/bin/newest/' tool
	go build -C tools/alertmanager -trimpath -o '$(CURDIR)/bin/newest/' tool
	PROMTEST_PROGRAMS='$(CURDIR)/bin/newest' go test -count=1 ./alerts/... ./dashboards/... ./deploy/... ./internal/e2e/...

soak: deps ## Kill the daemon fifty times, and hold what it kept and did to what happened
	go test -race -count=1 -timeout 60m -v ./internal/soak -kills 50

bench: ## Measure what is promised about speed and memory
	go run ./internal/bench -write docs/benchmarks.md

fuzz: ## Fuzz each decoder for FUZZTIME (10s)
	@tools/fuzz $(FUZZTIME)

lint: ## Lint, and check formatting, go.mod and shell syntax
	$(GOLANGCI_LINT) run
	go mod tidy -diff
	@for script in $(SCRIPTS); do sh -n "$$script" || exit 1; done

fmt: ## Format the Go files
	$(GOLANGCI_LINT) fmt

check: lint test build ## Everything CI checks; stage your changes first
	bin/chatwoot-sla version
	@git diff --exit-code || { echo 'check: a step changed the files above, or they were not staged; stage them and repeat' >&2; exit 1; }

clean: ## Remove what build and release made
	rm -rf bin dist
