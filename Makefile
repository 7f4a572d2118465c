# Roost, a self-hosted IoT hub.
# Copyright the Roost authors.
# SPDX-License-Identifier: Apache-2.0
#
# Every target installs what is missing first (see scripts/bootstrap) and shows what it does.

SHELL := /usr/bin/env bash
ROUNDS ?= 1000
SECONDS_EACH ?= 600
ARGUMENTS ?=

.DEFAULT_GOAL := help
.PHONY: help run build test lint format bench bench-proton fuzz crash clean

help:  ## Show this list.
	@awk -F':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' Makefile

run:  ## Build the release program and serve a hub from ./roost-data (ARGUMENTS= is passed on).
	@scripts/build
	@exec .build-release/release/roost serve $(ARGUMENTS)

build:  ## Build the release program: .build-release/release/roost
	@scripts/build

test:  ## Build and run every test: Swift, official SDKs, crash and strace proofs.
	@scripts/test

lint:  ## Check format, import walls and the Python and shell sources.
	@scripts/lint

format:  ## Format the Swift and Python sources in place.
	@scripts/format

bench:  ## Repeat the figures of docs/performance.md on this machine.
	@scripts/bench

bench-proton:  ## Measure AMQP with a C program on Qpid Proton (needs libqpid-proton11-dev).
	@scripts/bench-proton

fuzz:  ## Fuzz each decoder for SECONDS_EACH seconds (default 600).
	@scripts/fuzz $(SECONDS_EACH)

crash:  ## Kill the real server under load ROUNDS times and check what it acknowledged.
	@scripts/crash $(ROUNDS)

clean:  ## Remove build folders and the Python environment; ./roost-data stays.
	rm -rf .build .build-release .build-fuzz .venv .build-results
