# Each target is one line; scripts/ does the work. `make` alone lists them.
.PHONY: help demo build web test lint check-docs crash soak calls bench

help:          ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /  make \1 — /'

demo:          ## a real rain on this machine, then keep serving (ONCE=1 ends by itself)
	@scripts/setup.sh build && scripts/web.sh && cargo build --release --locked -p hongbao && exec node scripts/demo.mjs

build: web     ## the release binary, target/release/hongbao
	@cargo build --release --locked -p hongbao

web:           ## the pages, into web/dist
	@scripts/setup.sh build && scripts/web.sh

test:          ## everything that must hold
	@scripts/test.sh

lint:          ## rustfmt, clippy, dependencies
	@scripts/lint.sh

check-docs:    ## the documents name only what exists
	@cargo test --locked -p hongbao --test it docs::

crash:         ## kill -9 under load, ROUNDS=500 times
	@ROUNDS=$(or $(ROUNDS),500) cargo test --locked -p hongbao --test it crash:: -- --nocapture

soak:          ## every failure of the cluster and container tests, ROUNDS=10 times as often
	@scripts/setup.sh test && ROUNDS=$(or $(ROUNDS),10) cargo test --locked -p hongbao --test cluster --test containers -- --nocapture --test-threads=1

calls: build   ## what grabs cost in calls of backends: the table of docs/scaling.md
	@scripts/setup.sh test && HONGBAO_BIN=$(CURDIR)/target/release/hongbao cargo test --locked -p hongbao --test cluster calls::what -- --ignored --nocapture

bench:         ## the figures of docs/performance.md (QUICK=1 for a short form)
	@scripts/setup.sh bench && scripts/web.sh && scripts/bench/run.sh
