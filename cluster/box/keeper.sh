# shellcheck shell=bash
# The keeper of a box, seen from outside: starting it, finding it, entering its namespaces, ending it. Sourced by box.sh.

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

children_of() { cat "/proc/$1/task/$1/children" 2>/dev/null; } # PID

child_of() { # PID: its first child, waiting up to a second for it
  local child='' tries
  for ((tries = 0; tries < 100; ++tries)); do
    child=$(children_of "$1") || return 1
    if [[ -n $child ]]; then break; fi
    sleep 0.01
  done
  [[ -n $child ]] && printf '%s' "${child%% *}"
}

first_of() { # FOLDER: PID 1 of the box, by its number outside of it
  local keeper
  keeper=$(keeper_of "$1") || die 1 "the box in $1 is not running" "box.sh up $1"
  child_of "$keeper" || die 1 "the box in $1 has just ended"
}

first_of_host() { # FOLDER HOST: PID 1 of the host, by its number outside of the box
  local first pid keeper_of_host
  first=$(first_of "$1")
  pid=$(cat "$1/hosts/$2/pid" 2>/dev/null) || die 1 "$2 is switched off" "box.sh restore $1 $2"
  for keeper_of_host in $(children_of "$first"); do
    for first in $(children_of "$keeper_of_host"); do
      # NSpid: the number here, in the box, in the host
      if [[ $(sed -n 's/^NSpid:\t//p' "/proc/$first/status" 2>/dev/null) == "$first"$'\t'"$pid"$'\t'1 ]]; then
        printf '%s' "$first"
        return
      fi
    done
  done
  die 1 "$2 has just ended"
}

start_keeper() { # FOLDER HOSTS: keeper is then its PID; with tie=true it ends with this script
  local folder=$1 hosts=$2 prefix=()
  if ${tie:-false}; then prefix=(setpriv --pdeathsig KILL); fi
  (
    close_descriptors
    # shellcheck disable=SC2016  # expanded by the inner bash, which becomes the keeper
    exec ${prefix[@]+"${prefix[@]}"} setsid bash -c '
      line=$(</proc/$$/stat)
      read -r -a line <<<"${line##*) }"
      printf "%d %s\n" "$$" "${line[19]}" >"$1/keeper.pid"
      exec unshare --fork --pid --kill-child --mount --net --uts --ipc --mount-proc -- bash "$1/inside.sh" keep "$1" "$2"
    ' keeper "$folder" "$hosts" </dev/null >"$folder/log/box" 2>&1
  ) &
  keeper=$!
  disown "$keeper" # or bash would tell of its end
  until [[ -s $folder/keeper.pid || -z $(started_at "$keeper") ]]; do sleep 0.01; done
}

close_descriptors() { # whoever waits for the end of our output, or for a lock of ours, must not wait for the box
  local descriptor
  for descriptor in /proc/self/fd/*; do
    descriptor=${descriptor##*/}
    if ((descriptor > 2 && descriptor != 255)); then eval "exec $descriptor>&-"; fi
  done
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
  die 1 "process $first, PID 1 of the box in $1, does not end" "a process in it waits for a disk: ps -eo pid,stat,args"
}

enter=()      # prefix of a command that is to run in the box
enter_box() { # FOLDER
  local first
  first=$(first_of "$1")
  enter=(nsenter --target "$first" --root --mount --net --uts --ipc --pid --)
}

inside() { timeout 60 "${enter[@]}" bash /run/box/inside.sh "$@"; } # FUNCTION ARGUMENTS...

client() { timeout 20 "${enter[@]}" env SLURM_CONF=/run/box/slurm.conf "$@"; } # COMMAND...
