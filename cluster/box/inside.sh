#!/usr/bin/env bash
# What happens within a box: its keeper, its network, its hosts. box.sh puts it into the box's folder, here /run/box, and
# runs it in the box's namespaces.
set -euo pipefail

box=/run/box
mtu=9000 # of a cluster's usual network

fail() {
  printf '%s\n' "$*" >&2
  exit 1
}

number_of() { printf '%s' "${1#n}"; }

# PID 1 of the box or of a host. What loses its parent becomes its child, and bash collects it while it waits.
reap() {
  while :; do
    sleep infinity &
    wait "$!" || true
  done
}

private_mounts() { # NAME: /tmp outlives a host that is switched off, /dev/shm does not
  mount --bind "$box/hosts/$1/tmp" /tmp
  mount -t tmpfs -o mode=1777 tmpfs /dev/shm
}

no_ipv6() { # Open MPI would try the link's addresses
  if [[ -e /proc/sys/net/ipv6/conf/all/disable_ipv6 ]]; then
    printf 1 >/proc/sys/net/ipv6/conf/all/disable_ipv6
    printf 1 >/proc/sys/net/ipv6/conf/default/disable_ipv6
  fi
}

# ---- the box ---------------------------------------------------------------------------------------------------------------

keep() { # FOLDER HOSTS: never returns
  local folder=$1 hosts=$2 number
  mount -t tmpfs -o mode=755 tmpfs /run
  mkdir "$box" /run/munge
  mount --bind "$folder" "$box"
  private_mounts login
  mount --bind "$box/names" /etc/hosts
  hostname login

  no_ipv6
  ip link set lo up
  # A bridge without an address of its own takes that of a port, and changes it with its ports.
  ip link add switch address 02:00:0a:e7:00:01 mtu "$mtu" type bridge stp_state 0 forward_delay 0
  ip address add 10.231.0.1/24 dev switch
  ip link set switch up

  dd if=/dev/urandom of=/run/munge/key bs=128 count=1 status=none
  chmod 600 /run/munge/key
  munged --force --key-file=/run/munge/key --seed-file=/run/munge/seed --pid-file=/run/munge/pid \
    --log-file="$box/log/munged"
  slurmctld -f "$box/slurm.conf"
  for ((number = 1; number <= hosts; ++number)); do start_host "n$number"; done
  : >"$box/started"
  reap
}

# ---- hosts -----------------------------------------------------------------------------------------------------------------

pid_of() { # HOST: of its PID 1; none while it is switched off
  local pid
  pid=$(cat "$box/hosts/$1/pid" 2>/dev/null) || return 1
  [[ -e /proc/$pid/ns/pid ]] && printf '%s' "$pid"
}

in_host() { # HOST COMMAND...
  local pid
  pid=$(pid_of "$1") || fail "$1 is switched off: box.sh restore FOLDER $1"
  nsenter --target "$pid" --mount --net --uts --ipc --pid -- "${@:2}"
}

start_host() { # HOST
  local host=$1 number keeper pid
  number=$(number_of "$host")
  setsid unshare --fork --pid --kill-child --mount --net --uts --ipc --mount-proc -- bash "$box/inside.sh" reap \
    </dev/null >/dev/null 2>&1 &
  keeper=$!
  until read -r pid _ <"/proc/$keeper/task/$keeper/children" || [[ -n $pid ]]; do # the file has no end of line
    kill -0 "$keeper" 2>/dev/null || fail "$host: no namespaces (unshare failed)"
    sleep 0.01
  done
  ip link add "$host" mtu "$mtu" type veth \
    peer name eth0 mtu "$mtu" address "$(printf '02:00:0a:e7:00:%02x' $((10 + number)))" netns "$pid"
  ip link set "$host" master switch up
  printf '%s\n' "$pid" >"$box/hosts/$host/pid"
  in_host "$host" bash "$box/inside.sh" boot "$host"
}

boot() { # HOST: in its namespaces
  hostname "$1"
  private_mounts "$1"
  no_ipv6
  ip link set lo up
  ip address add "10.231.0.$((10 + $(number_of "$1")))/24" dev eth0
  ip link set eth0 up
  slurmd -f "$box/slurm.conf"
}

"$@"
