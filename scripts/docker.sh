#!/usr/bin/env bash
# Docker's engine and the images of the template where nothing can be pulled: tests use it, and so
# can a machine without a registry.
#
#   scripts/docker.sh start     an engine: the one that runs already, or one of our own
#   scripts/docker.sh images BINARY    the images of the template, with this binary in ours
#   scripts/docker.sh run CMD …        CMD with DOCKER_HOST set to that engine
#   scripts/docker.sh status    whether one runs
#   scripts/docker.sh stop      ends our own engine; images and volumes stay
#   scripts/docker.sh clean     ends it and removes its folder
#   scripts/docker.sh build     the whole Dockerfile, with this machine's Rust and Node
#
# Our own engine lives in HONGBAO_DOCKER_DIR (default: /tmp/hongbao-docker) and touches nothing
# outside but the kernel's network tables, which it clears when it ends. Everything may be repeated,
# and nothing asks a question.
set -euo pipefail
cd "$(dirname "$0")/.."

dir=${HONGBAO_DOCKER_DIR:-/tmp/hongbao-docker}
own_socket=$dir/docker.sock
suite=bookworm
prefix=hongbao-local
# What the image may have over its base, in bytes.
over_base_max=40000000
# Debian's own, whatever else stands on the path: its client builds with BuildKit without a plug-in.
docker=/usr/bin/docker

say() { echo "docker: $*" >&2; }

as_root() {
  if [ "$(id -u)" -eq 0 ]; then "$@"; else sudo --non-interactive "$@"; fi
}

fail() {
  say "$*"
  exit 1
}

answers() { DOCKER_HOST=$1 "$docker" version --format '{{.Server.Version}}' >/dev/null 2>&1; }

# The address of an engine that answers: the caller's, the machine's, or our own.
host() {
  local candidate
  for candidate in ${DOCKER_HOST:+"$DOCKER_HOST"} "unix://$own_socket" unix:///var/run/docker.sock; do
    if answers "$candidate"; then
      echo "$candidate"
      return
    fi
  done
  return 1
}

install() {
  scripts/setup.sh containers >&2
}

# The kernel's cgroups, where no init system has mounted them.
mount_cgroups() {
  if [ -e /sys/fs/cgroup/cgroup.controllers ] || [ -d /sys/fs/cgroup/cpu ]; then return; fi
  say "mounting cgroups"
  as_root mount -t cgroup2 none /sys/fs/cgroup || fail "cgroups cannot be mounted"
}

start() {
  install
  if host >/dev/null; then return; fi
  mount_cgroups
  as_root mkdir -p "$dir"
  # What an engine left that was killed.
  as_root rm -f "$dir/docker.pid" "$own_socket"
  # What was so before is not the engine's doing, and stays so after it.
  as_root rm -f "$dir/forwards-nothing"
  if as_root /usr/sbin/iptables-save 2>/dev/null | grep -q '^:FORWARD DROP'; then
    as_root touch "$dir/forwards-nothing"
  fi
  say "starting an engine in $dir"
  # No bridge of its own: each installation brings its networks. Nothing that outlives this script
  # may keep its output open: who reads that to its end would wait for the engine's end.
  as_root sh -c 'cd / && exec setsid "$@" </dev/null >>"$0" 2>&1' "$dir/engine.log" \
    dockerd --data-root "$dir/data" --exec-root "$dir/exec" --pidfile "$dir/docker.pid" \
    --host "unix://$own_socket" --bridge none --storage-driver overlay2 --shutdown-timeout 5 \
    >/dev/null 2>&1 &
  local _
  for _ in $(seq 300); do
    if answers "unix://$own_socket"; then return; fi
    sleep 0.2
  done
  tail -n 30 "$dir/engine.log" >&2
  fail "the engine did not start; the end of $dir/engine.log is above"
}

# The process of our own engine, if it is one.
own_pid() {
  local pid
  pid=$(cat "$dir/docker.pid" 2>/dev/null) || return 1
  [ "$(cat "/proc/$pid/comm" 2>/dev/null)" = dockerd ] && echo "$pid"
}

stop() {
  local pid _
  if pid=$(own_pid); then
    say "ending the engine in $dir"
    as_root kill -TERM "$pid"
    for _ in $(seq 150); do
      [ -d "/proc/$pid" ] || break
      sleep 0.2
    done
    [ ! -d "/proc/$pid" ] || as_root kill -KILL "$pid"
    clear_network
  fi
}

# Takes the engine's rules out of the kernel's tables, unless another engine has them too.
clear_network() {
  if pgrep -x dockerd >/dev/null || ! command -v /usr/sbin/iptables-save >/dev/null; then return; fi
  local forward=s/^:FORWARD\ DROP/:FORWARD\ ACCEPT/
  [ ! -e "$dir/forwards-nothing" ] || forward=
  as_root sh -c '/usr/sbin/iptables-save | sed "/DOCKER/d; $0" | /usr/sbin/iptables-restore' "$forward" ||
    say "its rules stay in the kernel: iptables-restore failed"
}

clean() {
  stop
  if [ -d "$dir" ]; then
    local mounted
    awk -v dir="$dir/" 'index($2, dir) == 1 { print $2 }' /proc/mounts | sort -r |
      while read -r mounted; do as_root umount -l "$mounted"; done
    as_root rm -rf --one-file-system "$dir"
  fi
}

has_image() { "$docker" image inspect "$1" >/dev/null 2>&1; }

id_of() { "$docker" image inspect --format '{{.Id}}' "$1" 2>/dev/null; }

# A Debian as small as debootstrap makes it, without what an image never needs.
base_image() {
  has_image "$prefix/debian" && return
  local root=$dir/base
  say "making $prefix/debian with debootstrap"
  as_root rm -rf "$root"
  as_root mkdir -p "$root"
  as_root debootstrap --variant=minbase "$suite" "$root" >"$dir/debootstrap.log" 2>&1 || {
    tail -n 20 "$dir/debootstrap.log" >&2
    fail "debootstrap failed; the end of $dir/debootstrap.log is above"
  }
  as_root sh -c 'cd "$1" && rm -rf var/cache/apt/archives/*.deb var/lib/apt/lists/* usr/share/doc/* usr/share/man/* usr/share/locale/*' sh "$root"
  as_root tar -C "$root" --exclude=./dev/* --exclude=./proc/* --exclude=./sys/* -c . |
    "$docker" import --change 'CMD ["/bin/sh"]' - "$prefix/debian" >/dev/null
  as_root rm -rf "$root"
}

# The engines behind ours and the balancer, from Debian's packages.
engine_images() {
  local what
  for what in mariadb redis haproxy; do
    has_image "$prefix/$what" && continue
    say "making $prefix/$what"
    quietly "$docker" build --network host --build-arg "BASE=$prefix/debian" --target "$what" \
      -t "$prefix/$what" deploy/docker/engines
  done
}

# Says something only when it fails.
quietly() {
  local log
  log=$(mktemp)
  "$@" >"$log" 2>&1 || {
    tail -n 40 "$log" >&2
    rm -f "$log"
    fail "failed: $*"
  }
  rm -f "$log"
}

# Our image: the last stage of the Dockerfile, around a binary that was built outside.
own_image() {
  local binary=$1 context before image id
  [ -x "$binary" ] || fail "there is no binary $binary"
  before=$(for image in "$prefix/hongbao" "$prefix/built"; do id_of "$image" || true; done)
  context=$(mktemp -d)
  mkdir -p "$context/out/usr/local/bin" "$context/out/etc/ssl/certs" "$context/out/own/lib/hongbao" "$context/out/own/var/log"
  strip -o "$context/out/usr/local/bin/hongbao" "$binary"
  cp /etc/ssl/certs/ca-certificates.crt "$context/out/etc/ssl/certs/"
  # The same binary makes the same image, so that nothing is built again.
  find "$context/out" -exec touch -h -d @0 {} +
  printf 'FROM scratch\nCOPY out /out\n' >"$context/Dockerfile"
  quietly "$docker" build -t "$prefix/built" "$context"
  rm -rf "$context"
  quietly "$docker" build -f deploy/docker/Dockerfile --target image -t "$prefix/hongbao" \
    --build-arg "RUNTIME_IMAGE=$prefix/debian" --build-arg "BUILT=$prefix/built" .
  # What has just lost its name is of no use to anybody, unless a container still runs it.
  for id in $before; do
    [ "$id" = "$(id_of "$prefix/hongbao")" ] || [ "$id" = "$(id_of "$prefix/built")" ] ||
      "$docker" rmi "$id" >/dev/null 2>&1 || true
  done
}

# This machine's Rust and Node in an image, with the packages that cargo has fetched already.
toolchain_image() {
  local name=$prefix/toolchain sysroot cargo_home making
  base_image
  has_image "$name" && return
  say "making $name"
  sysroot=$(rustc --print sysroot)
  cargo_home=${CARGO_HOME:-$HOME/.cargo}
  quietly "$docker" build --network host --build-arg "BASE=$prefix/debian" --target compiler \
    -t "$prefix/compiler" deploy/docker/engines
  making=$("$docker" create --network none "$prefix/compiler" true)
  tar -C "$sysroot" --exclude=share -ch bin lib | "$docker" cp - "$making:/usr/local"
  tar -C / -ch usr/bin/node usr/lib/node_modules/npm etc/ssl/certs/ca-certificates.crt |
    "$docker" cp - "$making:/"
  tar -C "$cargo_home" -c registry/index registry/cache | "$docker" cp - "$making:/usr/local/cargo"
  "$docker" commit --change 'ENV CARGO_HOME=/usr/local/cargo' \
    --change 'ENV NODE_EXTRA_CA_CERTS=/etc/ssl/certs/ca-certificates.crt' "$making" "$name" >/dev/null
  "$docker" rm "$making" >/dev/null
}

size_of() { "$docker" image inspect --format '{{.Size}}' "$1"; }

# The whole Dockerfile, and what came of it.
build() {
  local over_base
  toolchain_image
  say "building the whole image; this takes many minutes"
  quietly "$docker" build --network host -f deploy/docker/Dockerfile --target image -t hongbao \
    --build-arg "NODE_IMAGE=$prefix/toolchain" --build-arg "RUST_IMAGE=$prefix/toolchain" \
    --build-arg "RUNTIME_IMAGE=$prefix/debian" "$@" .
  over_base=$(($(size_of hongbao) - $(size_of "$prefix/debian")))
  say "the image has $over_base bytes over its base; SHA-256 of the binary:"
  "$docker" run --rm --network none --entrypoint sha256sum hongbao /usr/local/bin/hongbao
  [ "$over_base" -le "$over_base_max" ] || fail "more than $over_base_max bytes over its base"
}

images() {
  [ $# -eq 1 ] || fail "usage: scripts/docker.sh images BINARY"
  base_image
  engine_images
  own_image "$1"
}

command=${1:-}
[ $# -eq 0 ] || shift
export DOCKER_BUILDKIT=1
case $command in
  start)
    start
    echo "DOCKER_HOST=$(host)"
    ;;
  images | run | build)
    start
    DOCKER_HOST=$(host)
    export DOCKER_HOST
    if [ "$command" = run ]; then exec "$@"; fi
    "$command" "$@"
    ;;
  status) [ -x "$docker" ] && host >/dev/null ;;
  stop | clean) "$command" ;;
  *)
    sed -n '2,/^set/{/^#/s/^# \{0,1\}//p}' "$0" >&2
    exit 64
    ;;
esac
