#!/usr/bin/env bash
# A real Slurm of a few isolated hosts on one machine; README.md beside it is the manual.
set -euo pipefail

usage() {
  cat <<'TEXT'
usage: box.sh up FOLDER [OPTIONS]              starts a box; returns when all its hosts are idle
       box.sh run FOLDER COMMAND...            runs a command on its login host: sbatch, srun, sinfo, bash, ...
       box.sh on FOLDER HOST COMMAND...        runs a command on one host (n1, n2, ...), outside of any job
       box.sh status FOLDER                    hosts, their links, jobs
       box.sh log FOLDER [NAME]                last lines of all logs, or one log: slurmctld, slurmd.n1, jobs, munged, box
       box.sh down FOLDER                      ends everything in the box and removes the folder
       box.sh with [OPTIONS] -- COMMAND...     up in a temporary folder, run, down, whatever happens

faults of a host:
       box.sh cut FOLDER HOST                  loses all packets to and from it, closes nothing
       box.sh slow FOLDER HOST DELAY [LOSS]    delays each packet by DELAY (20ms), in both directions, and loses LOSS (1%)
       box.sh mend FOLDER HOST                 ends cut and slow
       box.sh crash FOLDER HOST                kills slurmd, job steps and all else on it; the network still answers for it
       box.sh switch-off FOLDER HOST           the host is gone at once, without a last packet
       box.sh restore FOLDER HOST              network mended, host switched on, slurmd started; returns when Slurm has it back

options of up and with:
  --hosts N           1 to 9 hosts: n1, n2, ... (default 2)
  --cpus N            CPUs that Slurm sees on each host (default 1)
  --gpus N            GPUs that Slurm sees on each host; for scheduling only, nothing computes on them (default 0)
  --node-timeout S    a host that is silent for S seconds is down, and its jobs are requeued (default 10)
  --patience S        how long to wait for all hosts to be idle (default 60)
  --grace S           seconds from signal to SIGKILL for a job that makes room for one of partition `urgent` (default 30)

FOLDER holds configuration, logs and the hosts' /tmp. Exit: 0 done, 1 failure, 2 wrong usage; run, on and with: the command's
own. Needs root and the Debian packages of cluster/box/packages.txt.
TEXT
}

die() { # STATUS WHAT REMEDY...
  printf 'box.sh: %s\n' "$2" >&2
  if (($# > 2)); then printf '        %s\n' "${@:3}" >&2; fi
  exit "$1"
}

wrong_usage() { die 2 "$1" 'box.sh --help lists what there is'; }

here=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd -P)
PATH=$PATH:/usr/sbin:/sbin # where a root without a login shell does not look

# shellcheck source=cluster/box/keeper.sh
source "$here/keeper.sh"
# shellcheck source=cluster/box/folder.sh
source "$here/folder.sh"
# shellcheck source=cluster/box/settings.sh
source "$here/settings.sh"
# shellcheck source=cluster/box/command.sh
source "$here/command.sh"

check_machine() {
  local entry missing=()
  if ((EUID)); then die 1 "this needs root, for network and mount namespaces" "sudo box.sh ..."; fi
  for entry in slurmctld:slurmctld slurmd:slurmd sinfo:slurm-client munged:munge ip:iproute2 bridge:iproute2 \
    nsenter:util-linux mount:mount hostname:hostname /usr/bin/python3:python3; do
    if ! command -v "${entry%:*}" >/dev/null && [[ " ${missing[*]-} " != *" ${entry#*:} "* ]]; then
      missing+=("${entry#*:}")
    fi
  done
  if ((${#missing[@]})); then
    die 1 "Debian packages are missing: ${missing[*]}" \
      "apt-get update && apt-get install -y --no-install-recommends ${missing[*]}"
  fi
  if ! unshare --mount --net --uts --ipc --pid --fork true 2>/dev/null; then
    die 1 "root may not make namespaces here, as in a container with few rights" \
      "use a virtual machine, or start the container with all rights (docker run --privileged)"
  fi
}

# ---- up and down ----------------------------------------------------------------------------------------------------------

bring_up() { # FOLDER
  local folder=$1 began=$SECONDS idle=''
  while [[ ! -e $folder/started ]]; do
    if [[ -z $(keeper_of "$folder") ]]; then give_up "$folder" "the box in $folder did not start"; fi
    if ((SECONDS - began > patience)); then give_up "$folder" "the box in $folder was not ready after $patience s"; fi
    sleep 0.05
  done
  enter_box "$folder"
  until idle=$(client sinfo -h -p main -t idle -o %D 2>/dev/null) && [[ $idle == "$hosts" ]]; do
    if [[ -z $(keeper_of "$folder") ]]; then give_up "$folder" "the box in $folder has ended"; fi
    if ((SECONDS - began > patience)); then
      client sinfo -h -p main -N -o '%N is %T: %E' >&2 || true
      give_up "$folder" "not all of the $hosts hosts were idle after $patience s"
    fi
    sleep 0.1
  done
}

give_up() { # FOLDER WHAT
  show_logs "$1" 10 >&2
  end_keeper "$1"
  die 1 "$2, see above" "the logs are in $1/log"
}

up() {
  if (($# < 1)); then wrong_usage 'up: which folder?'; fi
  local folder lock
  folder=$(realpath -m -- "$1")
  parse_options "${@:2}"
  if ((${#rest[@]})); then wrong_usage "up: unknown argument '${rest[0]}'"; fi
  check_machine
  mkdir -p -- "$(dirname -- "$folder")"
  exec {lock}<"$(dirname -- "$folder")"
  flock -w 60 "$lock" || die 1 "another box.sh has been preparing a box beside $folder for a minute"
  prepare_folder "$folder" "$hosts"
  write_slurm_conf "$folder"
  trap 'take_down "$folder"; exit 130' INT
  trap 'take_down "$folder"; exit 143' TERM HUP
  start_keeper "$folder" "$hosts"
  exec {lock}<&-
  bring_up "$folder"
  trap - INT TERM HUP
  printf 'a box of %d hosts in %s\n' "$hosts" "$folder"
}

take_down() { # FOLDER
  end_keeper "$1"
  rm -rf -- "$1"
}

down() {
  if (($# != 1)); then wrong_usage 'down: which folder?'; fi
  local folder
  if [[ ! -e $1 ]]; then return; fi
  folder=$(folder_of "$1")
  take_down "$folder"
}

# Note [With]: the box ends with this script, however that ends. Its keeper is tied to us; and when we are killed and cannot
# remove the folder, a process in a session of its own does, since it then reads the end of a pipe that only we hold open.
with() {
  local folder first alive
  parse_options "$@"
  if ((${#rest[@]} == 0)); then wrong_usage 'with: which command?'; fi
  check_machine
  folder=$(mktemp -d /var/tmp/cskd-box.XXXXXX)
  # shellcheck disable=SC2016  # expanded by the inner bash
  exec {alive}> >(exec setsid bash -c 'read -r; "$1" down "$2" || rmdir "$2"' with "$here/box.sh" "$folder" >/dev/null 2>&1)
  # shellcheck disable=SC2064  # the folder of now
  trap "take_down $folder" EXIT
  trap 'exit 130' INT
  trap 'exit 143' TERM HUP
  prepare_folder "$folder" "$hosts"
  write_slurm_conf "$folder"
  tie=true
  start_keeper "$folder" "$hosts"
  bring_up "$folder"
  first=$(first_of "$folder")
  run_command "$folder" --last "$alive" "$here/box.sh" "$first" "$PWD" "${rest[@]}"
}

# ---- commands in the box --------------------------------------------------------------------------------------------------

run() {
  if (($# < 2)); then wrong_usage 'run: which folder and command?'; fi
  local folder first
  folder=$(folder_of "$1")
  first=$(first_of "$folder")
  run_command "$folder" "$first" "$PWD" "${@:2}"
}

on() {
  if (($# < 3)); then wrong_usage 'on: which folder, host and command?'; fi
  local folder first
  folder=$(folder_of "$1")
  check_host "$folder" "$2"
  first=$(first_of_host "$folder" "$2")
  run_command "$folder" "$first" "$PWD" "${@:3}"
}

# ---- faults ---------------------------------------------------------------------------------------------------------------

fault() { # ACTION FOLDER HOST ARGUMENTS...
  if (($# < 3)); then wrong_usage "$1: which folder and host?"; fi
  local folder
  folder=$(folder_of "$2")
  check_host "$folder" "$3"
  enter_box "$folder"
  case $1 in
    slow)
      if (($# < 4 || $# > 5)); then wrong_usage "slow: which delay, for instance 20ms?"; fi
      if [[ ! $4 =~ ^[0-9]+(\.[0-9]+)?(us|ms|s)$ ]]; then wrong_usage "slow: '$4' is no delay such as 20ms, 500us or 1s"; fi
      if [[ ! ${5:-0%} =~ ^([0-9]+(\.[0-9]+)?)%$ ]]; then wrong_usage "slow: '${5:-}' is no loss such as 1%"; fi
      if ! awk "BEGIN {exit ${BASH_REMATCH[1]} > 100}"; then wrong_usage "slow: a loss of $5 is more than all"; fi
      inside slow "$3" "$4" "${5:-0%}"
      ;;
    *)
      if (($# > 3)); then wrong_usage "$1: unknown argument '$4'"; fi
      if [[ $1 == restore ]]; then restore "$folder" "$3"; else inside "${1//-/_}" "$3"; fi
      ;;
  esac
}

restore() { # FOLDER HOST
  local began=$SECONDS reported_after reported
  reported_after=$(date +%s)
  inside restore "$2"
  # Slurm's own view of the host may be from before it was lost: only a later report counts.
  until reported=$(client scontrol show node "$2" 2>/dev/null | sed -n 's/.*SlurmdStartTime=//p') &&
    reported=$(date +%s -d "${reported:-@0}" 2>/dev/null) && ((reported >= reported_after)) &&
    [[ $(client sinfo -h -p main -n "$2" -o %t 2>/dev/null) =~ ^(idle|mix|alloc|comp|plnd)$ ]]; do
    if ((SECONDS - began > patience)); then
      client sinfo -h -p main -N -o '%N is %T: %E' >&2 || true
      show_logs "$1" 10 >&2
      die 1 "Slurm does not have $2 back after $patience s, see above" "the logs are in $1/log"
    fi
    sleep 0.1
  done
}

# ---- looking --------------------------------------------------------------------------------------------------------------

status() {
  if (($# != 1)); then wrong_usage 'status: which folder?'; fi
  local folder host state link
  folder=$(folder_of "$1")
  enter_box "$folder"
  for host in $(hosts_of "$folder"); do
    state=$(client sinfo -h -p main -n "$host" -o %T) || die 1 "slurmctld does not answer" "box.sh log $1 slurmctld"
    link=$(cat "$folder/hosts/$host/cut" "$folder/hosts/$host/slow" 2>/dev/null | paste -sd ' ') || true
    if [[ ! -e $folder/hosts/$host/pid ]]; then link='switched off'; fi
    printf '%-4s %-12s %s\n' "$host" "$state" "${link:-connected}"
  done
  client squeue -o '%.6i %.10P %.20j %.10T %.8M %R'
}

log() {
  if (($# < 1 || $# > 2)); then wrong_usage 'log: which folder?'; fi
  local folder
  folder=$(folder_of "$1")
  if (($# == 1)); then
    show_logs "$folder" 20
  elif [[ $2 == */* || ! -f $folder/log/$2 ]]; then
    die 2 "there is no log '$2'" "there are: $(cd -- "$folder/log" && printf '%s ' *)"
  else
    cat -- "$folder/log/$2"
  fi
}

# ---- main -----------------------------------------------------------------------------------------------------------------

if (($# == 0)); then
  usage >&2
  exit 2
fi
action=$1
shift
case $action in
  up | down | with | run | on | status | log) "$action" "$@" ;;
  cut | slow | mend | crash | switch-off | restore) fault "$action" "$@" ;;
  -h | --help) usage ;;
  *) wrong_usage "unknown command '$action'" ;;
esac
