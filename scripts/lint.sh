#!/usr/bin/env bash
# The rules that need no running code: format, clippy, and what we depend on.
set -euo pipefail
cd "$(dirname "$0")/.."

crates_max=350

cargo fmt --all --check
cargo clippy --workspace --all-targets --locked --quiet -- -D warnings

crates=$(cargo tree --workspace --edges normal,build --prefix none --locked | sed 's/ (.*//' | sort -u | wc -l)
echo "lint: $crates crates in the default build (at most $crates_max)"
if [ "$crates" -ge "$crates_max" ]; then
  echo "lint: too many; \`cargo tree --duplicates\` shows where to begin" >&2
  exit 1
fi

scripts/deny.sh
