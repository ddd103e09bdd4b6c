#!/usr/bin/env bash
# The vendor's Python and Node SDKs of SLS against the offline SLS, and beside our own client:
# scripts/sdk/sls.sh
# Installs both into target/tools/ once; needs Debian's python3-venv.
set -euo pipefail
cd "$(dirname "$0")/../.."

python_version=0.9.52
node_version=1.2.6
tools=$PWD/target/tools/sls-sdks-$python_version-$node_version
if [ ! -e "$tools/ready" ]; then
  python3 -m venv "$tools"
  "$tools/bin/pip" install --quiet --disable-pip-version-check "aliyun-log-python-sdk==$python_version"
  npm install --silent --no-audit --no-fund --prefix "$tools" "@alicloud/log@$node_version"
  touch "$tools/ready"
fi

cargo build --quiet --locked -p aliyun --example offline_sls --example sls_client
examples=${CARGO_TARGET_DIR:-$PWD/target}/debug/examples
for version in v1 v4; do
  "$tools/bin/python" scripts/sdk/drive_sls.py "$examples" "$version"
done
node scripts/sdk/drive_sls.cjs "$examples" "$tools"
