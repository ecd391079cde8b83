# shellcheck shell=bash
# How set-up runs its steps and tells of them. launch/setup.sh sources it with the path of the log.

log=$1
child=         # process group of the step that is running
phase=         # name of the phase, while it runs
phase_start=0
phase_offset=0 # where its part of the log begins

# ---- what a person sees -------------------------------------------------------------------------------------------------

seconds_since() { # START: microseconds
  local tenths=$(((${EPOCHREALTIME/[.,]/} - $1 + 50000) / 100000))
  printf '%d.%d s' $((tenths / 10)) $((tenths % 10))
}

begin() { # NAME
  phase=$1 phase_start=${EPOCHREALTIME/[.,]/}
  printf '\n==== %s, %(%F %T)T\n' "$phase" -1 >>"$log"
  phase_offset=$(stat -c %s -- "$log")
  if [[ -t 1 ]]; then printf '[..] %-20s' "$phase"; fi
}

phase_line() { # MARK TEXT
  if [[ -t 1 ]]; then printf '\r\033[K'; fi
  printf '[%s] %-20s %10s\n' "$1" "$phase" "$2"
  phase=
}

end() { # [unchanged]
  phase_line ok "${1:-$(seconds_since "$phase_start")}"
}

fail() { # WHAT REMEDY...
  if [[ -n $phase ]]; then phase_line failed "$(seconds_since "$phase_start")"; fi
  printf 'setup.sh: %s\n' "$1" >&2
  shift
  if (($#)); then printf '          %s\n' "$@" >&2; fi
  exit 1
}

phase_log() { tail -c "+$((phase_offset + 1))" -- "$log"; }

# The part of this phase's log that tells what went wrong: from ninja's or CMake's first error, or else the end.
show_log() {
  phase_log | awk '/^(FAILED:|CMake Error)/ && !found {n = 0; found = 1} {line[++n] = substr($0, 1, 300)}
       END {from = (found || n <= 15) ? 1 : n - 14; to = (n - from < 40) ? n : from + 39
            for (i = from; i <= to; i++) print "  | " line[i]}' >&2
  printf '  (all of it: %s)\n' "$log" >&2
}

phase_log_has() { # REGEX
  phase_log | grep -E -- "$1" >/dev/null # not -q, which stops reading: pipefail would make a failure of that
}

# ---- running steps ------------------------------------------------------------------------------------------------------

# Runs COMMAND with its output in the log, in a session of its own, so that stop() reaches everything that it starts.
run() {
  local status=0
  printf '+ %s\n' "$*" >>"$log"
  setsid "$@" >>"$log" 2>&1 </dev/null &
  child=$!
  wait "$child" || status=$?
  child=
  return "$status"
}

stop() { # SIGNAL-NUMBER
  trap '' INT TERM HUP
  if [[ -n $child ]]; then
    kill -TERM -- "-$child" 2>/dev/null || true
    wait "$child" 2>/dev/null || true
  fi
  if [[ -n $phase ]]; then phase_line stopped "$(seconds_since "$phase_start")"; fi
  printf 'setup.sh: interrupted; the same command goes on from here\n' >&2
  exit $((128 + $1))
}
