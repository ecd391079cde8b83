#!/usr/bin/env bash
# What happens within a box: its keeper, its network, its hosts. box.sh puts it into the box's folder, here /run/box, and
# runs it in the box's namespaces.
set -euo pipefail

box=/run/box
mtu=9000 # of a cluster's usual network

fail() {
  printf 'box.sh: %s\n' "$*" >&2
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

private_mounts() { # NAME
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
  [[ -e /etc/hosts ]] || fail "/etc/hosts is missing, over which a box lays its own: touch /etc/hosts"
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

pid_of() { # HOST: of its PID 1
  local pid
  pid=$(cat "$box/hosts/$1/pid" 2>/dev/null) || fail "$1 is switched off; box.sh restore switches it on"
  printf '%s' "$pid"
}

in_host() { # HOST COMMAND...
  local pid
  pid=$(pid_of "$1")
  nsenter --target "$pid" --root --mount --net --uts --ipc --pid -- "${@:2}"
}

start_host() { # HOST: like one without a disk, it begins with nothing on it
  local host=$1 number keeper pid
  find "$box/hosts/$host" -mindepth 2 -delete
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

# ---- faults ----------------------------------------------------------------------------------------------------------------

# The state of a bridge's port; carrier and addresses stay, so that neither side is told of anything.
forwarding=3 disabled=0

has_link() { ip link show dev "$1" >/dev/null 2>&1; } # NAME

cut() { # HOST
  pid_of "$1" >/dev/null
  bridge link set dev "$1" state "$disabled"
  printf 'cut\n' >"$box/hosts/$1/cut"
}

slow() { # HOST DELAY LOSS
  local host=$1
  pid_of "$host" >/dev/null
  # A port that changes its bridge forwards at once.
  [[ ! -e $box/hosts/$host/cut ]] || fail "$host is cut off; box.sh mend ends that"
  end_slow "$host"
  ip link add "slow-$host" mtu "$mtu" type bridge stp_state 0 forward_delay 0
  setsid /usr/bin/python3 "$box/slow_link.py" "near-$host" "far-$host" "$2" "$3" </dev/null >>"$box/log/slow_link" 2>&1 &
  printf '%s\n' "$!" >"$box/hosts/$host/slow.pid"
  until has_link "near-$host" && has_link "far-$host"; do
    kill -0 "$!" 2>/dev/null || fail "$(tail -n 1 "$box/log/slow_link")"
    sleep 0.02
  done
  ip link set "near-$host" mtu "$mtu" master "slow-$host" up
  ip link set "far-$host" mtu "$mtu" master switch up
  ip link set "slow-$host" up
  ip link set "$host" master "slow-$host"
  printf 'slow (%s, %s)\n' "$2" "$3" >"$box/hosts/$host/slow"
}

end_slow() { # HOST
  local host=$1
  if [[ ! -e $box/hosts/$host/slow.pid ]]; then return 0; fi
  if has_link "$host"; then ip link set "$host" master switch; fi
  kill -KILL "$(<"$box/hosts/$host/slow.pid")" 2>/dev/null || true
  ip link delete "slow-$host" 2>/dev/null || true
  rm -f "$box/hosts/$host/slow.pid" "$box/hosts/$host/slow"
}

mend() { # HOST
  pid_of "$1" >/dev/null
  end_slow "$1"
  rm -f "$box/hosts/$1/cut"
  bridge link set dev "$1" state "$forwarding"
}

crash() { # HOST
  # In a PID namespace, -1 is every process but its PID 1 and the caller.
  # shellcheck disable=SC2016
  in_host "$1" bash -c 'kill -KILL -1'
}

switch_off() { # HOST
  local host=$1 pid
  pid=$(pid_of "$host")
  cut "$host" # or the kernel would close the connections of those it kills
  kill -KILL "$pid"
  while [[ -e /proc/$pid ]]; do sleep 0.01; done
  # It goes with the host's network, but not at once: until then it must not get onto the switch again.
  ip link delete "$host" 2>/dev/null || true
  end_slow "$host"
  rm -f "$box/hosts/$host/cut" "$box/hosts/$host/pid" "$box/hosts/$host/slurmd.pid"
}

restore() { # HOST
  local host=$1
  if [[ ! -e $box/hosts/$host/pid ]]; then
    start_host "$host"
    return
  fi
  mend "$host"
  in_host "$host" slurmd -f "$box/slurm.conf" # ends one that runs; job steps go on
}

"$@"
