# shellcheck shell=bash
# A command of the user's in a box: its environment, its signals, its end. Sourced by box.sh after keeper.sh.

command_defaults=( # what the caller has set stays
  OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 # all is root in a box
  OMPI_MCA_hwloc_base_binding_policy=none                   # mpirun would bind the first rank of each host to the same core
  OMPI_MCA_mpi_yield_when_idle=1                            # the hosts share the machine's cores
)

command_pid=     # our child, above the command
command_depth=   # how many processes below it the command is
was_signal=false # a signal has interrupted our waiting

# Runs COMMAND where `enter` leads, DEPTH processes that fork below ours, and returns its status. A signal to this script goes
# to the command; when this script is killed, so is the command.
run_command() { # DEPTH FOLDER COMMAND...
  local status signal setting environment=("CSKD_BOX=$2" SLURM_CONF=/run/box/slurm.conf)
  command_depth=$1
  shift 2
  for setting in "${command_defaults[@]}"; do
    if [[ ! -v ${setting%%=*} ]]; then environment+=("$setting"); fi
  done
  case $PWD/ in
    /tmp/?* | /dev/shm/?* | /run/?*)
      die 2 "the box has no $PWD, since its /tmp, /run and /dev/shm are its own" "start the command from another folder"
      ;;
  esac

  for signal in TERM HUP USR1 USR2 INT QUIT; do
    # shellcheck disable=SC2064  # the signal of now
    trap "forward $signal" "$signal"
  done
  # Bash gives a process in the background no input, and lets it ignore the keyboard's signals. TMPDIR would name a folder
  # that the hosts do not have.
  setpriv --pdeathsig KILL "${enter[@]:?}" setpriv --pdeathsig KILL \
    env --default-signal=INT,QUIT --chdir="$PWD" -u TMPDIR -u TMP -u TEMP "${environment[@]}" "$@" <&0 &
  command_pid=$!
  while :; do
    was_signal=false status=0
    wait "$command_pid" 2>/dev/null || status=$? # bash would tell of a kill
    if ! $was_signal; then break; fi
  done
  trap - TERM HUP USR1 USR2 INT QUIT
  return "$status"
}

# shellcheck disable=SC2317  # called by traps
forward() { # SIGNAL
  local process=$command_pid level
  was_signal=true
  if [[ -z $process ]]; then return; fi
  if [[ $1 == INT || $1 == QUIT ]] && in_foreground; then return; fi # the terminal has sent it to the command as well
  for ((level = 0; level < command_depth; ++level)); do process=$(child_of "$process") || return 0; done
  kill -s "$1" "$process" 2>/dev/null || true
}

# shellcheck disable=SC2317  # called by forward
in_foreground() { # of a terminal
  local line
  line=$(</proc/$$/stat)
  read -r -a line <<<"${line##*) }"
  [[ ${line[2]} == "${line[5]}" ]]
}
