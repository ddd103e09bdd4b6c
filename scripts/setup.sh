#!/usr/bin/env bash
# Installs what a make target needs from Debian's packages: scripts/setup.sh build|test|bench|containers
# Does nothing, and touches no network, when all of it is there. Never asks a question.
set -euo pipefail

# The Debian package that brings a command.
package_of() {
  case $1 in
    cc) echo gcc ;;
    nginx) echo nginx-light ;;
    ip) echo iproute2 ;;
    unshare | setpriv | setsid) echo util-linux ;;
    mariadbd) echo mariadb-server ;;
    initdb) echo postgresql ;;
    promtool) echo prometheus ;;
    systemd-analyze) echo systemd ;;
    systemd-nspawn) echo systemd-container ;;
    dockerd) echo docker.io ;;
    *) echo "$1" ;;
  esac
}

as_root() {
  if [ "$(id -u)" -eq 0 ]; then "$@"; else sudo --non-interactive "$@"; fi
}

# Whether a command is here. Debian keeps servers in sbin, which is not on every user's path, and
# PostgreSQL in a folder for each version.
is_here() {
  PATH=$PATH:/usr/sbin:/sbin command -v "$1" >/dev/null && return
  compgen -G "/usr/lib/postgresql/*/bin/$1" >/dev/null
}

# Tests start servers of their own. Those that the packages would set up and start are not wanted:
# no cluster of PostgreSQL is made, and no service is started while we install.
keep_services_out() {
  if [[ " ${missing[*]} " == *" postgresql "* && ! -e /etc/postgresql-common/createcluster.conf ]]; then
    as_root mkdir -p /etc/postgresql-common
    echo 'create_main_cluster = false' | as_root tee /etc/postgresql-common/createcluster.conf >/dev/null
  fi
  if [ ! -e /usr/sbin/policy-rc.d ]; then
    printf '#!/bin/sh\nexit 101\n' | as_root tee /usr/sbin/policy-rc.d >/dev/null
    as_root chmod 755 /usr/sbin/policy-rc.d
    trap 'as_root rm -f /usr/sbin/policy-rc.d' EXIT
  fi
}

purpose=${1:-build}
case $purpose in
  build) commands=(cc make) ;;
  test) commands=(cc make chromium sqlite3 mariadbd initdb redis-server haproxy setpriv openssl promtool systemd-analyze systemd-nspawn dockerd docker-compose debootstrap setsid) ;;
  bench) commands=(cc make nginx wrk ip unshare mariadbd initdb setpriv) ;;
  containers) commands=(cc dockerd docker-compose debootstrap setsid) ;;
  *)
    echo "usage: scripts/setup.sh build|test|bench|containers" >&2
    exit 64
    ;;
esac

missing=()
for command in "${commands[@]}"; do
  is_here "$command" || missing+=("$(package_of "$command")")
done
# A compiler without the C library's headers cannot build SQLite.
if [ ! -e /usr/include/stdio.h ]; then missing+=(libc6-dev); fi
# Python checks the Helm chart, in an environment of its own.
if [ "$purpose" = test ] && ! python3 -c 'import ensurepip, venv' 2>/dev/null; then missing+=(python3-venv); fi
# The browser test reads a page in two languages; without a font every glyph is a box.
if [ "$purpose" = test ] && [ -z "$(find /usr/share/fonts -name '*.ttf' -print -quit 2>/dev/null)" ]; then
  missing+=(fonts-dejavu-core)
fi

if [ ${#missing[@]} -gt 0 ]; then
  echo "setup: installing ${missing[*]} from Debian's packages"
  log=$(mktemp)
  keep_services_out
  install=(env DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 apt-get install -y -qq --no-install-recommends "${missing[@]}")
  # The package lists may be missing or older than the mirror: read them, and try once more when
  # the mirror was busy.
  if ! { as_root apt-get update -qq && as_root "${install[@]}"; } </dev/null >"$log" 2>&1; then
    sleep 5
    if ! { as_root apt-get update -qq && as_root "${install[@]}"; } </dev/null >>"$log" 2>&1; then
      cat "$log" >&2
      echo "setup: could not install ${missing[*]}; the log is above" >&2
      exit 1
    fi
  fi
  rm -f "$log"
fi

need() {
  command -v "$1" >/dev/null && return
  echo "setup: \`$1\` is missing: $2" >&2
  exit 1
}
need cargo "install Rust 1.95 or newer"
need node "install Node.js 20.19 or newer"
need npm "it comes with Node.js"
echo "setup: all that \`$purpose\` needs is here"
