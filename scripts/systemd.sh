#!/usr/bin/env bash
# The systemd units: understood in every word, and closed to what they need not:
# scripts/systemd.sh
# Needs systemd-analyze (Debian's systemd). Nothing is installed and nothing is started.
set -euo pipefail
cd "$(dirname "$0")/.."

# Of 100; what systemd calls OK ends at 49.
exposure_max=15

root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT
mkdir -p "$root/usr/lib/systemd" "$root/etc/systemd/system" "$root/usr/local/bin"
cp -r /usr/lib/systemd/system "$root/usr/lib/systemd/"
printf '#!/bin/sh\n' >"$root/usr/local/bin/hongbao"
chmod 755 "$root/usr/local/bin/hongbao"

units=(hongbao.service hongbao@redpacket.service)
# What systemd does not understand it passes over, with a word.
understood() { [ -z "$(systemd-analyze verify --man=no --root="$root" "${units[@]}" 2>&1 | tee "$root/said")" ]; }
closed() { systemd-analyze security --offline=true --root="$root" --threshold="$exposure_max" --no-pager "$1" >"$root/said" 2>&1; }
fresh() { cp deploy/systemd/*.service "$root/etc/systemd/system/"; }
complain() { cat "$root/said" >&2; echo "systemd: $1" >&2; exit 1; }

fresh
understood || complain "the units are not understood"
for unit in "${units[@]}"; do
  closed "$unit" || complain "$unit is open to more than $exposure_max of 100"
done

sed -i 's/^Restart=/Restrt=/' "$root/etc/systemd/system/hongbao.service"
if understood; then complain "a word that is none was not noticed"; fi
fresh
sed -i '/^CapabilityBoundingSet=/d' "$root/etc/systemd/system/hongbao.service"
if closed hongbao.service; then complain "a unit with every capability was not noticed"; fi
echo "systemd: ${#units[@]} units are understood, and closed to what they need not"
