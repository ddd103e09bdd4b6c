#!/usr/bin/env bash
# The systemd units, run by a real systemd in a container of its own: scripts/systemd-boot.sh BINARY
# Started, killed, backed up, restored and stopped. Needs root and systemd-nspawn (Debian's
# systemd-container); the container has no network but its own, and only this machine's /usr, read-only.
set -euo pipefail

if [ "${WITHOUT_SYSTEMD:-}" = 1 ]; then
  echo "systemd: left out, as WITHOUT_SYSTEMD=1 says" >&2
  exit 0
fi
if [ "$(id -u)" -ne 0 ]; then
  echo "systemd: only root may start a container; WITHOUT_SYSTEMD=1 leaves this out" >&2
  exit 1
fi

binary=$(realpath "$1")
cd "$(dirname "$0")/.."

root=$(mktemp -d)
name=hongbao-$$
container=
stop() {
  if [ -n "$container" ]; then
    kill -TERM "$container" 2>/dev/null || true
    # What does not end in time has nothing to lose.
    for _ in $(seq 100); do kill -0 "$container" 2>/dev/null || break; sleep 0.1; done
    kill -KILL "$container" 2>/dev/null || true
  fi
  rm -rf "$root"
  # What the container leaves behind, empty.
  find "/run/systemd/nspawn/propagate/$name" /sys/fs/cgroup/systemd/{payload,supervisor} -depth -type d -exec rmdir {} \; 2>/dev/null || true
}
trap stop EXIT

mkdir -p "$root"/{bin-of-ours,machine} "$root"/machine/{etc/systemd/system/multi-user.target.wants,etc/hongbao,dev,proc,root,run,sys,tmp,usr,var/lib,var/log}
cp "$binary" "$root/bin-of-ours/hongbao"
chmod 755 "$root" "$root/bin-of-ours" "$root/bin-of-ours/hongbao"
for folder in bin sbin lib lib64; do ln -s "usr/$folder" "$root/machine/$folder"; done
cp -rL /etc/os-release /etc/passwd /etc/group /etc/ssl "$root/machine/etc/"
printf 'hosts: files\npasswd: files\ngroup: files\n' >"$root/machine/etc/nsswitch.conf"
# A machine that has an id is not set up anew: nothing starts but what is linked here.
od -An -N16 -tx1 /dev/urandom | tr -d ' \n' >"$root/machine/etc/machine-id"
cp deploy/systemd/*.service "$root/machine/etc/systemd/system/"
ln -s ../hongbao.service "$root/machine/etc/systemd/system/multi-user.target.wants/"
for key in token-secret service-key organiser-key; do
  (umask 077 && od -An -N32 -tx1 /dev/urandom | tr -d ' \n' >"$root/machine/etc/hongbao/$key")
done

systemd-nspawn --quiet --machine="$name" --directory="$root/machine" --bind-ro=/usr --bind-ro="$root/bin-of-ours:/usr/local/bin" \
  --register=no --keep-unit --private-network --console=pipe --boot </dev/null >"$root/said" 2>&1 &
container=$!

inside() {
  local init
  init=$(cut -d' ' -f1 "/proc/$container/task/$container/children")
  [ -n "$init" ] || return 1
  timeout 60 nsenter --target "$init" --mount --pid --net --uts --ipc --cgroup "$@"
}
die() {
  echo "systemd: $1" >&2
  inside journalctl --no-pager --unit 'hongbao*' 2>/dev/null | tail -40 >&2 || cat "$root/said" >&2
  exit 1
}
# Waits until what is said to be so is so.
until_true() {
  for _ in $(seq 300); do
    if inside "$@" >/dev/null 2>&1; then return; fi
    sleep 0.1
  done
  die "this did not come true: $*"
}
ready() { until_true hongbao health; }
main_pid() { inside systemctl show --property MainPID --value hongbao; }
# A command of ours beside the server, which is done again while it has just begun.
ours() { inside env HONGBAO_ORGANISER_KEY_FILE=/var/lib/private/hongbao/organiser.key hongbao "$@"; }

ready
status=$(inside cat "/proc/$(main_pid)/status")
for wanted in 'NoNewPrivs:	1' 'Seccomp:	2' 'CapEff:	0000000000000000' 'CapBnd:	0000000000000000'; do
  grep --quiet "^$wanted$" <<<"$status" || die "the service is not closed: $wanted is not so"
done
if grep --quiet '^Uid:	0' <<<"$status"; then die "the service is root"; fi

ours campaign create --title Units --packets 200 --batches 2 --interval 1 --equal 100 >/dev/null 2>&1 || die "no campaign can be made"
id=$(ours campaign list --json | grep -oE '[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}' | head -1)
ours crowd --url http://127.0.0.1:8080 --campaign "$id" --users 100 --rate 50 --for 4 >"$root/crowd" 2>&1 || { cat "$root/crowd" >&2; die "the crowd's books do not balance"; }

first=$(main_pid)
inside kill -KILL "$first"
until_true sh -c "[ \"\$(systemctl show --property MainPID --value hongbao)\" -ne 0 ] && [ \"\$(systemctl show --property MainPID --value hongbao)\" -ne $first ]"
ready
ours campaign audit "$id" >/dev/null || die "after a kill the books do not balance"

# As docs/operations.md says.
ours backup --data-dir /var/lib/private/hongbao --to /root/backup >/dev/null || die "no backup can be made"
inside sh -c 'systemctl stop hongbao && mv /var/lib/private/hongbao /var/lib/private/hongbao.old' || die "it does not stop"
[ "$(inside systemctl show --property Result --value hongbao)" = success ] || die "it did not end well"
ours restore --from /root/backup --data-dir /var/lib/private/hongbao >/dev/null || die "the backup cannot be restored"
inside systemctl start hongbao
ready
ours campaign audit "$id" >/dev/null || die "after a restore the books do not balance"
inside systemctl stop hongbao

# A service of its own gets its secrets; one that is told too little or nonsense is not tried again
# and again.
inside systemctl start hongbao@webpage
ready
inside systemctl stop hongbao@webpage
ends_for_good_with() {
  inside systemctl start "$2"
  until_true systemctl is-failed "$2"
  said=$(inside systemctl show --property ExecMainStatus --property NRestarts "$2" | sort | paste -sd ' ')
  [ "$said" = "ExecMainStatus=$1 NRestarts=0" ] || die "$2: a wrong configuration ended with $said"
}
ends_for_good_with 78 hongbao@monitor
ends_for_good_with 2 hongbao@nobody
inside sh -c 'echo HONGBAO_LEASE_SECONDS=abc >/etc/hongbao/hongbao.env'
ends_for_good_with 78 hongbao
echo "systemd: the units run under a real systemd, survive a kill, and are restored from a backup"
