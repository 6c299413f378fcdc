# One command runs exactly what CI runs: `make test`. `make help` lists the rest.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.NOTPARALLEL:
MAKEFLAGS += --no-print-directory

CACHE := $(shell deploy/dev/tools.sh cache)
export PATH := $(CACHE)/bin:$(PATH)

# Every step selects the whole workspace, so that all build the same features in the same profile: nothing twice.
CARGO_TEST := cargo test --locked --workspace --no-fail-fast

# Every test target by its files, but the one that is a step of its own.
CRATES := . fanout gateway storage loadtest/swarm
TARGETS := $(wildcard $(foreach crate,$(CRATES),$(crate)/tests/*.rs $(crate)/tests/*/main.rs))
SYSTEM := $(filter-out cluster,$(sort $(notdir $(basename $(TARGETS:/main.rs=.rs)))))

.PHONY: help check test cluster tools fmt clippy rustdoc shellcheck deny unit system cluster-tests clients kill

help: ## This list.
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/make \1\t\2/p' Makefile | column -t -s $$'\t'

check: fmt clippy unit ## The fast inner loop: formatting, lints, unit tests. No servers.

test: tools fmt shellcheck deny clippy rustdoc unit system cluster-tests clients kill ## Everything CI runs, cheap to dear.

cluster: ## A cluster on this machine until Ctrl-C; CLUSTER="--port 4100 --dir FOLDER" are options of deploy/dev/cluster.sh.
	@deploy/dev/tools.sh toolchain cassandra valkey haproxy
	@$(CARGO_TEST) --no-run --test system # as `make clients` builds it: nothing twice
	@ROOST_BIN="$$(deploy/dev/binary.sh)" exec deploy/dev/cluster.sh $(CLUSTER)

tools: ## Fetch what the tests use into the cache; nothing to do when it is there.
	@deploy/dev/tools.sh toolchain shellcheck deny clients cassandra valkey redis haproxy

fmt: ## Formatting.
	cargo fmt --all --check

shellcheck: ## Lints of the scripts.
	shellcheck .ci/run deploy/dev/*.sh

deny: ## Licences, banned crates and sources of the dependencies.
	cargo fetch --locked --quiet # those of other platforms, too, which no build here has fetched
	CARGO=$(CURDIR)/deploy/dev/cargo-for-deny cargo-deny --offline check -A warnings --hide-inclusion-graph licenses bans sources

clippy: ## Lints, warnings denied.
	cargo clippy --locked --workspace --all-targets -- -D warnings

rustdoc: ## The documentation builds without a warning.
	RUSTDOCFLAGS="-D warnings" cargo doc --locked --workspace --no-deps --document-private-items

unit: ## Unit, contract and wire tests: no process is started.
	$(CARGO_TEST) --lib --bins -- --skip on_servers
	$(CARGO_TEST) --doc

system: ## On real servers: backends, the hand-off property, and black-box tests of the real binary as a child process.
	$(CARGO_TEST) --lib on_servers
	$(CARGO_TEST) $(SYSTEM:%=--test %) -- --skip kill_

cluster-tests: ## Whole clusters of real processes: what goes between gateways, and what happens when parts of them die.
	$(CARGO_TEST) --test cluster

clients: ## The published phoenix.js packages against the real binary, alone and as the cluster of `make cluster`.
	$(CARGO_TEST) --no-run --test system
	ROOST_BIN="$$(deploy/dev/binary.sh)" node --test --test-reporter=spec $$(ls tests/clients/*.test.mjs)

kill: ## The kill test: a server killed again and again under load, and a checker. ROOST_KILL_SEED=N repeats a run.
	$(CARGO_TEST) --test kill -- --nocapture kill_9
