#!/usr/bin/env bash
# The vendor's Python and Node SDKs of MNS against the offline MNS, and beside our own client:
# scripts/sdk/mns.sh
# Installs both into target/tools/ once; needs Debian's python3-venv.
set -euo pipefail
cd "$(dirname "$0")/../.."

python_version=1.3.0
node_version=1.2.0
tools=$PWD/target/tools/mns-sdks-$python_version-$node_version
if [ ! -e "$tools/ready" ]; then
  python3 -m venv "$tools"
  "$tools/bin/pip" install --quiet --disable-pip-version-check "aliyun-mns-sdk==$python_version"
  npm install --silent --no-audit --no-fund --prefix "$tools" "@alicloud/mns@$node_version"
  touch "$tools/ready"
fi

cargo build --quiet --locked -p aliyun --example offline_mns --example mns_client
examples=${CARGO_TARGET_DIR:-$PWD/target}/debug/examples
server=$examples/offline_mns
# The Python SDK warns of its own counters, which the service withdraws.
"$tools/bin/python" -W ignore::DeprecationWarning scripts/sdk/drive_mns.py "$server" "$examples/mns_client"
node scripts/sdk/drive_mns.cjs "$server" "$examples/mns_client" "$tools"
