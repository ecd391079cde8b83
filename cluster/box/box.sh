#!/usr/bin/env bash
# A real Slurm of a few isolated hosts on one machine; README.md beside it is the manual.
set -euo pipefail

usage() {
  cat <<'TEXT'
usage: box.sh up FOLDER [OPTIONS]              starts a box; returns when all its hosts are idle
       box.sh run FOLDER COMMAND...            runs a command on its login host: sbatch, srun, sinfo, bash, ...
       box.sh on FOLDER HOST COMMAND...        runs a command on one host (n1, n2, ...), outside of any job
       box.sh status FOLDER                    hosts, their links, jobs
       box.sh log FOLDER [NAME]                the logs' last lines, or one log: slurmctld, slurmd.n1, jobs, munged, box
       box.sh down FOLDER                      ends everything in the box and removes the folder
       box.sh with [OPTIONS] -- COMMAND...     up in a temporary folder, run, down, whatever happens

faults of a host:
       box.sh cut FOLDER HOST                  loses all packets to and from it, closes nothing
       box.sh slow FOLDER HOST DELAY [LOSS]    delays each packet by DELAY (20ms) in both directions, loses LOSS (1%) of them
       box.sh mend FOLDER HOST                 ends cut and slow
       box.sh crash FOLDER HOST                kills slurmd, job steps and all else on it; its network goes on answering
       box.sh switch-off FOLDER HOST           the host is gone at once, without a last packet
       box.sh restore FOLDER HOST              switched on again, slurmd started, network mended

options of up and with:
  --hosts N           1 to 9 hosts, n1, n2, ... (default 2)
  --cpus N            CPUs that Slurm sees on each host (default 1)
  --gpus N            GPUs that Slurm sees on each host; for scheduling only, nothing can compute on them (default 0)
  --node-timeout S    a host that is silent for S seconds is down, and its jobs are requeued (default 10)
  --grace S           seconds from the signal to SIGKILL for a job that makes room for one of partition `urgent` (default 30)

FOLDER holds configuration, logs and the hosts' /tmp. Exit: 0 done, 1 failure, 2 wrong usage; run, on and with: the command's
own. Needs root and the Debian packages of cluster/box/packages.txt.
TEXT
}

here=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd -P)
PATH=$PATH:/usr/sbin:/sbin # where a root without a login shell does not look
start_seconds=60

die() { # STATUS WHAT REMEDY...
  printf 'box.sh: %s\n' "$2" >&2
  if (($# > 2)); then printf '        %s\n' "${@:3}" >&2; fi
  exit "$1"
}

wrong_usage() { die 2 "$1" 'box.sh --help lists what there is'; }

# ---- the machine ----------------------------------------------------------------------------------------------------------

check_machine() {
  local entry tool missing=()
  if ((EUID)); then die 1 "this needs root, for network and mount namespaces" "sudo box.sh ..."; fi
  for entry in slurmctld:slurmctld slurmd:slurmd sinfo:slurm-client munged:munge ip:iproute2 bridge:iproute2 \
    nsenter:util-linux mount:mount hostname:hostname /usr/bin/python3:python3; do
    tool=${entry%:*}
    if ! command -v "$tool" >/dev/null; then missing+=("${entry#*:}"); fi
  done
  if ((${#missing[@]})); then
    die 1 "Debian packages are missing: ${missing[*]}" \
      "apt-get update && apt-get install -y --no-install-recommends ${missing[*]}"
  fi
  if ! unshare --mount --net --pid --fork true 2>/dev/null; then
    die 1 "root may not make namespaces here, as in an unprivileged container" \
      "start the container with all rights (docker run --privileged), or use a virtual machine"
  fi
}

# ---- a box and its keeper -------------------------------------------------------------------------------------------------

# Note [Keeper]: a box is one `unshare` process with what it started: PID 1 of a PID namespace, which the kernel ends with it
# (--kill-child), and with PID 1 every process in the box, and with the last of these its networks and mounts. So a box
# cannot leave anything behind but its folder. keeper.pid names the process, with its time of start, since numbers are used
# again.

started_at() { # PID: clock ticks after boot, empty if there is none
  local line
  line=$(cat "/proc/$1/stat" 2>/dev/null) || return 0
  read -r -a line <<<"${line##*) }" # a name may contain spaces
  if [[ ${line[0]} != Z ]]; then printf '%s' "${line[19]}"; fi
}

keeper_of() { # FOLDER: the keeper's PID, if it lives
  local pid='' start=''
  if [[ -f $1/keeper.pid ]]; then read -r pid start <"$1/keeper.pid" || true; fi
  [[ -n $start && $(started_at "$pid") == "$start" ]] && printf '%s' "$pid"
}

child_of() { # PID: its first child, waiting up to a second for it
  local child='' tries
  for ((tries = 0; tries < 100; ++tries)); do
    child=$(cat "/proc/$1/task/$1/children" 2>/dev/null) || return 1
    if [[ -n $child ]]; then break; fi
    sleep 0.01
  done
  [[ -n $child ]] && printf '%s' "${child%% *}"
}

end_keeper() { # FOLDER: returns when nothing of the box runs any more
  local keeper first tries
  keeper=$(keeper_of "$1") || return 0
  first=$(child_of "$keeper") || first=$keeper
  kill -KILL "$keeper" 2>/dev/null || true
  for ((tries = 0; tries < 1000; ++tries)); do
    if [[ -z $(started_at "$first") ]]; then return 0; fi
    sleep 0.01
  done
  die 1 "process $first, PID 1 of the box in $1, does not end" "a process in it waits for a disk: see ps -eo pid,stat,args"
}

folder_of() { # FOLDER: its absolute path; the folder of a box, running or not
  local folder
  folder=$(realpath -m -- "$1")
  [[ -f $folder/keeper.pid ]] || die 2 "there is no box in $folder" "box.sh up $1"
  printf '%s' "$folder"
}

enter=() # command prefix that goes into a box
enter_box() { # FOLDER
  local keeper first
  keeper=$(keeper_of "$1") || die 1 "the box in $1 is not running" "box.sh up $1"
  first=$(child_of "$keeper") || die 1 "the box in $1 has just ended"
  enter=(nsenter --target "$first" --mount --net --uts --ipc --pid --)
}

inside() { timeout 60 "${enter[@]}" bash /run/box/inside.sh "$@"; }

client() { timeout 20 "${enter[@]}" env SLURM_CONF=/run/box/slurm.conf "$@"; }

# ---- up and down ----------------------------------------------------------------------------------------------------------

hosts=2 cpus=1 gpus=0 node_timeout=10 grace=30
rest=()

parse_options() { # WORDS...: what is left goes to rest
  while (($#)); do
    case $1 in
      --hosts | --cpus | --gpus | --node-timeout | --grace)
        if (($# < 2)); then wrong_usage "$1 lacks its number"; fi
        if [[ ! $2 =~ ^[0-9]{1,5}$ ]]; then wrong_usage "$1: '$2' is no number"; fi
        local name=${1#--}
        printf -v "${name//-/_}" '%d' "$((10#$2))"
        shift 2
        ;;
      --)
        shift
        break
        ;;
      -*) wrong_usage "unknown option '$1'" ;;
      *) break ;;
    esac
  done
  rest=("$@")
  if ((hosts < 1 || hosts > 9)); then wrong_usage "--hosts: 1 to 9, not $hosts"; fi
  if ((cpus < 1)); then wrong_usage "--cpus: at least 1"; fi
  if ((node_timeout < 3)); then wrong_usage "--node-timeout: at least 3, since hosts are asked every third of it"; fi
}

prepare() { # FOLDER: what a box needs there
  local folder=$1 number host place
  for place in /tmp /run /var/run /dev /proc /sys; do
    if [[ $folder/ == "$place"/* ]]; then die 2 "$folder: a box has its own $place, so its folder must be elsewhere"; fi
  done
  if keeper_of "$folder" >/dev/null; then die 1 "a box is already running in $folder" "box.sh down $folder"; fi
  if [[ -f $folder/keeper.pid ]]; then
    rm -rf -- "$folder" # of a box that was killed
  elif [[ -e $folder && -n $(ls -A -- "$folder") ]]; then
    die 2 "$folder: holds something else than a box" "name a folder that is new or empty"
  fi
  mkdir -p -- "$folder"
  : >"$folder/keeper.pid"
  mkdir -- "$folder/log" "$folder/state" "$folder/hosts"
  chmod 755 -- "$folder"
  printf '127.0.0.1 localhost\n10.231.0.1 login\n' >"$folder/names"
  for host in login $(seq -f 'n%g' "$hosts"); do
    mkdir -p -- "$folder/hosts/$host/tmp" "$folder/hosts/$host/spool"
    chmod 1777 -- "$folder/hosts/$host/tmp"
    number=${host#n}
    if [[ $host != login ]]; then printf '10.231.0.%d %s\n' $((10 + number)) "$host" >>"$folder/names"; fi
  done
  cp -- "$here/inside.sh" "$folder/"
  write_slurm_conf "$folder"
}

write_slurm_conf() { # FOLDER
  local folder=$1 memory gres='' of_nodes='' number
  memory=$(awk '/^MemTotal:/ {print int($2 / 1024)}' /proc/meminfo)
  if ((gpus)); then
    gres='GresTypes=gpu\n'
    of_nodes=" Gres=gpu:$gpus"
    for ((number = 0; number < gpus; ++number)); do
      mknod -- "$folder/gpu$number" c 1 3 # Slurm wants a device; this is one like /dev/null
      printf 'Name=gpu File=/run/box/gpu%d\n' "$number" >>"$folder/gres.conf"
    done
  fi
  sed -e "s/@hosts@/$hosts/; s/@last_address@/$((10 + hosts))/; s/@cpus@/$cpus/; s/@memory@/$memory/" \
    -e "s/@gres@/$gres/; s/@gpus@/$of_nodes/; s/@node_timeout@/$node_timeout/; s/@grace@/$grace/" \
    "$here/slurm.conf.in" >"$folder/slurm.conf"
}

show_logs() { # FOLDER
  local log
  for log in box slurmctld slurmd.n1 munged; do
    if [[ -s $1/log/$log ]]; then
      printf '  %s\n' "$log:"
      tail -n 8 -- "$1/log/$log" | cut -c 1-300 | sed 's/^/  | /'
    fi
  done >&2
}

start_keeper() { # FOLDER PREFIX...
  local folder=$1 descriptor
  (
    # Whoever waits for the end of our output, or for a lock of ours, must not wait for the box.
    for descriptor in /proc/self/fd/*; do
      descriptor=${descriptor##*/}
      if ((descriptor > 2 && descriptor != 255)); then eval "exec $descriptor>&-"; fi
    done
    # shellcheck disable=SC2016  # expanded by the inner bash, which becomes the keeper
    exec "${@:2}" setsid bash -c '
      line=$(</proc/$$/stat)
      read -r -a line <<<"${line##*) }"
      printf "%d %s\n" "$$" "${line[19]}" >"$1/keeper.pid"
      exec unshare --fork --pid --kill-child --mount --net --uts --ipc --mount-proc -- bash "$1/inside.sh" keep "$1" "$2"
    ' keeper "$folder" "$hosts" </dev/null >"$folder/log/box" 2>&1
  ) &
}

bring_up() { # FOLDER PREFIX...
  local folder=$1 began=$SECONDS idle=0
  start_keeper "$@"
  local job=$!
  disown "$job" # or bash would tell of its end
  while [[ ! -e $folder/started ]]; do
    if [[ -z $(started_at "$job") ]]; then
      show_logs "$folder"
      die 1 "the box in $folder did not start, see above"
    fi
    if ((SECONDS - began > start_seconds)); then
      show_logs "$folder"
      end_keeper "$folder"
      die 1 "the box in $folder was not ready after $start_seconds s, see above"
    fi
    sleep 0.05
  done
  enter_box "$folder"
  until idle=$(client sinfo -h -t idle -o %D 2>/dev/null) && ((${idle:-0} == hosts)); do
    if ((SECONDS - began > start_seconds)); then
      show_logs "$folder"
      client sinfo -N -o '%N %T %E' >&2 || true
      end_keeper "$folder"
      die 1 "not all of the $hosts hosts were idle after $start_seconds s, see above; the logs are in $folder/log"
    fi
    sleep 0.1
  done
}

take_down() { # FOLDER
  end_keeper "$1"
  rm -rf -- "$1"
}

up() {
  if (($# < 1)); then wrong_usage 'up: which folder?'; fi
  local folder
  folder=$(realpath -m -- "$1")
  parse_options "${@:2}"
  if ((${#rest[@]})); then wrong_usage "up: unknown argument '${rest[0]}'"; fi
  check_machine
  prepare "$folder"
  trap 'end_keeper "$folder"; exit 130' INT
  trap 'end_keeper "$folder"; exit 143' TERM HUP
  bring_up "$folder"
  printf 'box of %d hosts in %s: box.sh run %s COMMAND...\n' "$hosts" "$folder" "$folder"
}

down() {
  if (($# != 1)); then wrong_usage 'down: which folder?'; fi
  local folder
  folder=$(realpath -m -- "$1")
  if [[ ! -e $folder ]]; then return 0; fi
  folder=$(folder_of "$1")
  take_down "$folder"
}

# ---- commands in the box --------------------------------------------------------------------------------------------------

# Runs the command of rest in the box and returns its status. A signal to this script goes to the command and to nothing
# else; in a terminal, Ctrl-C already reaches both.
run_command() { # DEPTH PREFIX...: how many processes below ours the command is
  local depth=$1 folder_now=$PWD status forwarded child process
  shift
  if [[ $PWD == /tmp/* || $PWD == /dev/shm/* || $PWD == /run/* ]]; then
    die 2 "the box has no $PWD: its /tmp, /run and /dev/shm are its own" "run it from a folder elsewhere"
  fi
  # Bash gives a background process no input, and lets it ignore the signals of the keyboard.
  setpriv --pdeathsig KILL "$@" \
    env --default-signal=INT,QUIT --chdir="$folder_now" -u TMPDIR -u TMP -u TEMP \
    SLURM_CONF=/run/box/slurm.conf "${box_environment[@]}" "${rest[@]}" <&0 &
  child=$!
  forward() { # SIGNAL
    forwarded=true
    local level
    process=$child
    for ((level = 0; level < depth; ++level)); do process=$(child_of "$process") || return 0; done
    kill -s "$1" "$process" 2>/dev/null || true
  }
  local signal
  for signal in TERM HUP USR1 USR2; do
    # shellcheck disable=SC2064  # the signal of now
    trap "forward $signal" "$signal"
  done
  trap 'in_foreground || forward INT' INT
  trap 'in_foreground || forward QUIT' QUIT
  while :; do
    forwarded=false status=0
    wait "$child" || status=$?
    if ! $forwarded; then break; fi
  done
  trap - TERM HUP USR1 USR2 INT QUIT
  return "$status"
}

in_foreground() { # of a terminal
  local line
  forwarded=true
  line=$(</proc/$$/stat)
  read -r -a line <<<"${line##*) }"
  [[ ${line[2]} == "${line[5]}" ]]
}

box_environment=(
  OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 # all is root in a box
  OMPI_MCA_hwloc_base_binding_policy=none                   # or mpirun binds the first rank of each host to the same core
  OMPI_MCA_mpi_yield_when_idle=1                            # the hosts share the machine's cores
)

run() {
  if (($# < 2)); then wrong_usage 'run: which folder and command?'; fi
  local folder
  folder=$(folder_of "$1")
  rest=("${@:2}")
  enter_box "$folder"
  run_command 1 "${enter[@]}"
}

on() {
  if (($# < 3)); then wrong_usage 'on: which folder, host and command?'; fi
  local folder pid
  folder=$(folder_of "$1")
  check_host "$folder" "$2"
  pid=$(cat "$folder/hosts/$2/pid" 2>/dev/null) || die 1 "$2 is switched off" "box.sh restore $1 $2"
  rest=("${@:3}")
  enter_box "$folder"
  run_command 2 "${enter[@]}" nsenter --target "$pid" --mount --net --uts --ipc --pid --
}

check_host() { # FOLDER HOST
  if [[ ! $2 =~ ^n[1-9]$ || ! -d $1/hosts/$2 ]]; then
    die 2 "there is no host '$2' in $1" "its hosts: $(ls -- "$1/hosts" | grep -v login | tr '\n' ' ')"
  fi
}

# ---- main -----------------------------------------------------------------------------------------------------------------

if (($# == 0)); then wrong_usage 'what shall it do?'; fi
action=$1
shift
case $action in
  up | down | run | on) "$action" "$@" ;;
  -h | --help) usage ;;
  *) wrong_usage "unknown command '$action'" ;;
esac
