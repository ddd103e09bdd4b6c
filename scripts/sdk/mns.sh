#!/usr/bin/env bash
# The vendor's Python SDK of MNS against the offline MNS: scripts/sdk/mns.sh
# Installs the SDK into target/tools/ once; needs Debian's python3-venv.
set -euo pipefail
cd "$(dirname "$0")/../.."

version=1.3.0
tools=$PWD/target/tools/mns-sdk-$version
if [ ! -e "$tools/ready" ]; then
  python3 -m venv "$tools"
  "$tools/bin/pip" install --quiet --disable-pip-version-check "aliyun-mns-sdk==$version"
  touch "$tools/ready"
fi

cargo build --quiet --locked -p aliyun --example offline_mns
# The SDK warns of its own counters, which the service withdraws.
"$tools/bin/python" -W ignore::DeprecationWarning scripts/sdk/drive_mns.py target/debug/examples/offline_mns
