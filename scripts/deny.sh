#!/usr/bin/env bash
# cargo-deny over deny.toml: scripts/deny.sh [advisories]
# Licences, bans and sources need no network. `advisories` fetches the advisory database too.
set -euo pipefail
cd "$(dirname "$0")/.."

version=0.20.2
tools=$PWD/target/tools

if ! cargo deny --version 2>/dev/null | grep -qF " $version" && ! "$tools/bin/cargo-deny" --version 2>/dev/null | grep -qF " $version"; then
  echo "deny: building cargo-deny $version, once"
  # Unoptimised: it runs for a second, so a short build is worth more than fast code.
  CARGO_PROFILE_RELEASE_OPT_LEVEL=0 CARGO_PROFILE_RELEASE_LTO=off CARGO_PROFILE_RELEASE_CODEGEN_UNITS=16 \
    cargo install cargo-deny --version "$version" --locked --quiet --root "$tools" --target-dir "$tools/build" </dev/null
  rm -rf "$tools/build"
fi

checks=(licenses bans sources)
if [ "${1:-}" = advisories ]; then checks+=(advisories); fi
PATH=$tools/bin:$PATH cargo deny --log-level error check --hide-inclusion-graph "${checks[@]}" 2>&1 ||
  { echo "deny: \`cargo deny check ${checks[*]}\` says more" >&2; exit 1; }
