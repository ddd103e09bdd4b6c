#!/usr/bin/env bash
# Builds the pages into web/dist, from where the binary embeds them: scripts/web.sh [test]
# With `test`, checks their types and runs their unit tests first.
set -euo pipefail
cd "$(dirname "$0")/../web"

# npm writes this file last, so one that is older than the lock file means another lock file or
# an install that was cut short.
installed=node_modules/.package-lock.json
if [ ! -e "$installed" ] || [ package-lock.json -nt "$installed" ]; then
  echo "web: installing packages"
  npm ci --no-audit --no-fund --loglevel=error </dev/null
  touch "$installed"
fi

if [ "${1:-}" = test ]; then
  npm run --silent check </dev/null
  npm run --silent test </dev/null
fi

# Built only when something changed: a new dist makes cargo build the services again.
newer=$(find . \( -path ./node_modules -o -path ./dist -o -path ./src/paraglide \) -prune -o -type f -newer dist/.built -print -quit 2>/dev/null || true)
if [ ! -e dist/.built ] || [ -n "$newer" ]; then
  echo "web: building the pages"
  log=$(mktemp)
  npm run --silent build </dev/null >"$log" 2>&1 || { cat "$log" >&2; exit 1; }
  rm -f "$log"
  touch dist/.built
else
  echo "web: the pages are up to date"
fi
