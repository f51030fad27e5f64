# `make run` and `make test` start from a bare Debian host; the other targets
# expect that one of them, or `make deps`, was run once.

GO        ?= go
FUZZTIME  ?= 30s
SOAK_TIME ?= 20m
RUN_FLAGS ?=
BENCH_FLAGS ?=
DEBIAN    ?= 12
VM_ACCEL  ?=
VM_ARGS   ?=

SHELL       := /bin/bash
.SHELLFLAGS := -euo pipefail -c

# Go's usual place, for a root shell or sudo whose PATH does not have it.
export PATH := $(PATH):/usr/local/go/bin
# The same settings for building, vetting and testing, so that every package is
# compiled once. VCS stamping is off because it fails where root builds in
# another user's clone; VERSION takes its place.
export GOFLAGS := $(GOFLAGS) -mod=readonly -trimpath -buildvcs=false
export CGO_ENABLED := 0

VERSION := $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)

# runc is linked statically, libseccomp included, as its own Makefile does it:
# the binary then runs on any Debian, whatever libseccomp is there.
RUNC_FLAGS := -buildmode=pie -tags 'seccomp urfave_cli_no_docs netgo osusergo' \
	-ldflags '-s -w -linkmode external -extldflags -static-pie'

# golangci-lint is a tool of a module file of its own, which keeps its
# dependencies out of go.mod.
LINT := $(GO) tool -modfile=golangci.mod golangci-lint

# What only the bench needs is a module of its own, too.
BENCH := cd test/bench && $(GO)

# All packages but the integration tests, which need root.
UNIT_PACKAGES = $$($(GO) list ./... | grep -vE '^codebeaker/test(/|$$)')

.DEFAULT_GOAL := build
# Prerequisites are steps in an order; go itself uses all cores.
.NOTPARALLEL:
.PHONY: build soak test-binary deps deps-test deps-vm deps-bench run bench bench-binary docs test test-vm vet vet-vagrant race fuzz lint fmt clean need-root

build:
	@$(GO) build -ldflags '-s -w -X main.version=$(VERSION)' -o bin/codebeaker ./cmd/codebeaker
	@$(GO) build -ldflags '-s -w' -o bin/codebeaker-agent ./cmd/codebeaker-agent
	@CGO_ENABLED=1 $(GO) build $(RUNC_FLAGS) -o bin/runc github.com/opencontainers/runc

# The integration tests as a program, for machines without Go.
test-binary:
	@$(GO) test -c -ldflags '-s -w' -o bin/integration.test ./test

deps:
	@GO='$(GO)' packaging/deps.sh build run

deps-test:
	@GO='$(GO)' packaging/deps.sh build run test

deps-vm:
	@GO='$(GO)' packaging/deps.sh build run vm

deps-bench:
	@GO='$(GO)' packaging/deps.sh build run bench

run: need-root deps build
	@bin/codebeaker images build --missing python
	@exec bin/codebeaker serve --try python $(RUN_FLAGS)

# What is compared is started by it and ends with it: make bench
# BENCH_FLAGS='--rounds 10 --idle 1000 --json bench.json'.
bench: need-root deps-bench build bench-binary
	@$(GO) build -ldflags '-s -w' -o bin/containerd-shim-runc-v2 github.com/containerd/containerd/v2/cmd/containerd-shim-runc-v2
	@bin/codebeaker images build --missing python
	@exec bin/codebeaker-bench $(BENCH_FLAGS)

bench-binary:
	@$(BENCH) build -ldflags '-s -w' -o ../../bin/codebeaker-bench .

# The integration tests count the host's mounts, cgroups and processes before
# and after, so their packages run one after another.
test: deps-test build bench-binary vet
	@$(GO) test -count=1 $(UNIT_PACKAGES)
	@$(BENCH) test -count=1 ./...
	@if [ "$$(id -u)" -eq 0 ]; then \
		CODEBEAKER_TEST_BIN='$(CURDIR)/bin' $(GO) test -count=1 -p 1 -timeout 45m ./test/...; \
	else \
		echo 'make test: only the unit tests were run; the integration tests in ./test need root'; \
	fi

# Programs, file commands, creates and connections for a time; what grows with
# their number fails it.
soak: need-root deps-test build
	@SOAK_TIME='$(SOAK_TIME)' CODEBEAKER_TEST_BIN='$(CURDIR)/bin' $(GO) test -count=1 -timeout 4h -v -run '^TestSoak$$' ./test

# The integration tests against the installed service, in a virtual machine:
# make test-vm DEBIAN=13 VM_ARGS="-test.run 'TestExec|TestFile'". VM_ACCEL=tcg or kvm says
# how the processor is had, which is otherwise tried.
test-vm: need-root deps-vm build test-binary
	@GO='$(GO)' DEBIAN='$(DEBIAN)' VM_ACCEL='$(VM_ACCEL)' exec test/vm/run.sh $(VM_ARGS)

# What rpc.discover answers, for those who have no server, and the table of the
# metrics. A test fails where one was not written anew.
docs:
	@$(GO) test -count=1 ./rpc ./cmd/codebeaker/internal/metrics -run '^TestDocument(IsThatOfTheCode|ListsAllMetrics)$$' -update

vet: vet-vagrant
	@unformatted=$$("$$($(GO) env GOROOT)"/bin/gofmt -l .); if [ -n "$$unformatted" ]; then \
		echo "make vet: not formatted, run make fmt:" $$unformatted >&2; exit 1; \
	fi
	@$(GO) vet ./...
	@$(BENCH) vet ./...

# It keeps Vagrant's files out of the tree and of the user's home.
vet-vagrant:
	@command -v vagrant >/dev/null || exit 0; \
	home=$$(mktemp -d); trap 'rm -rf "$$home"' EXIT; \
	export VAGRANT_HOME=$$home VAGRANT_DOTFILE_PATH=$$home/local VAGRANT_CHECKPOINT_DISABLE=1; \
	said=$$(vagrant validate --ignore-provider 2>&1) || { echo "$$said" >&2; exit 1; }

race:
	@CGO_ENABLED=1 $(GO) test -race -count=1 $(UNIT_PACKAGES)

fuzz:
	@GO='$(GO)' FUZZTIME='$(FUZZTIME)' test/fuzz.sh

lint:
	@$(LINT) run
	@cd test/bench && $(GO) tool -modfile=../../golangci.mod golangci-lint run

fmt:
	@$(LINT) fmt

clean:
	rm -rf bin

need-root:
	@[ "$$(id -u)" -eq 0 ] || { echo 'make: sessions are containers, and images are made by root: start it as root' >&2; exit 1; }
