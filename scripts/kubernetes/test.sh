#!/usr/bin/env bash
# The Helm chart: rendered by Helm's own engine, validated for three minors of Kubernetes, and
# looked through: scripts/kubernetes/test.sh
# Installs what it needs into target/tools/ once; needs Debian's python3-venv.
set -euo pipefail
cd "$(dirname "$0")/../.."

helm_version=0.2.2       # Helm 4.2.3
schemas_version=1.37.0   # Kubernetes 1.37 and before
tools=$PWD/target/tools/kubernetes-$helm_version-$schemas_version
if [ ! -e "$tools/ready" ]; then
  rm -rf "$tools"
  python3 -m venv "$tools"
  "$tools/bin/pip" install --quiet --disable-pip-version-check \
    "helm-python-sdk==$helm_version" "kubernetes-validate==$schemas_version"
  # The engine comes three times, once for each of its names.
  for engine in "$tools"/lib/python3*/site-packages/helm_python/lib/libhelm_c.so; do
    for copy in "$engine".*; do
      if cmp --silent "$copy" "$engine"; then ln -sf libhelm_c.so "$copy"; fi
    done
  done
  touch "$tools/ready"
fi

PYTHONDONTWRITEBYTECODE=1 "$tools/bin/python" scripts/kubernetes/check.py
