#!/usr/bin/env bash
# `make bench`: builds, then measures inside a fresh network namespace where root allows one.
# QUICK=1 is a short form, ONLY=PATTERN measures the contenders of these ids, SAVE=1 puts the table
# into docs/performance.md.
set -euo pipefail
cd "$(dirname "$0")/../.."
PATH=$PATH:/usr/sbin:/sbin

cargo build --release --locked --quiet -p hongbao
cargo build --release --locked --quiet -p ledger --example bare_insert
cargo build --release --locked --quiet -p testkit --example database

# 10,000 idle connections need as many files, on both ends.
ulimit -n "$(ulimit -Hn)" 2>/dev/null || true

if [ "$(id -u)" -eq 0 ] && unshare --net true 2>/dev/null; then
  # Without the host's connection tracking the figures are steadier.
  exec unshare --net sh -c 'ip link set lo up && exec node scripts/bench/bench.mjs'
fi
echo "bench: no network namespace of our own; measuring on the host's loopback"
exec node scripts/bench/bench.mjs
