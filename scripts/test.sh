#!/usr/bin/env bash
# Everything that must hold, on a fresh machine too. Stops at the first thing that does not.
set -euo pipefail
cd "$(dirname "$0")/.."

section_started=$SECONDS
section() {
  printf '\n=== %s (%d s so far)\n' "$1" "$((SECONDS - section_started))"
}

section "Set-up"
scripts/setup.sh test

# An engine that runs already is somebody else's. One that the tests start is ended with them, also
# when they are interrupted.
if ! scripts/docker.sh status >/dev/null; then
  trap 'scripts/docker.sh stop' EXIT
fi

section "Pages: types, unit tests, build"
scripts/web.sh test

section "Lint: rustfmt, clippy, dependencies"
scripts/lint.sh

section "Operations: the chart, the alerts, the systemd units"
scripts/kubernetes/test.sh
scripts/watching.py
scripts/systemd.sh

section "Tests of the workspace: unit, property, conformance, black-box, crash, documents"
# A test that hangs ends all, after libtest has named it, and not first by CI's own limit.
cargo test --workspace --locked --quiet --no-run
timeout --kill-after=30 2400 cargo test --workspace --locked --quiet </dev/null

section "The cloud's own SDKs, which we did not write, against the offline cloud and beside our clients"
scripts/sdk/mns.sh
scripts/sdk/sls.sh

section "The systemd units under a real systemd"
cargo build --quiet --locked -p hongbao
scripts/systemd-boot.sh target/debug/hongbao

section "Pages in a real browser"
(cd web && HONGBAO_BIN="$PWD/../target/debug/hongbao" npm run --silent e2e </dev/null)

printf '\n=== All passed (%d s)\n' "$((SECONDS - section_started))"
