# shellcheck shell=bash
# Going on with what is left of a job: which hosts answer, how many ranks they make, whether the run gets anywhere.
# cluster/slurm/job.sh sources it.
: "${log:?}" "${run:?}"

declare -A blame=() # host -> times that the run failed on it

# ---- hosts --------------------------------------------------------------------------------------------------------------

# Hosts that belong to the job now: Slurm takes those out that it knows to be down. The first is this one.
hosts_of_job() {
  local list
  list=$(timeout 10 squeue --noheader --jobs="$SLURM_JOB_ID" --format=%N) || list=$SLURM_JOB_NODELIST
  scontrol show hostnames "${list:-$SLURM_JOB_NODELIST}"
}

slowest_answer=7000 # milliseconds; until the first have answered, nobody knows how fast this Slurm is

# Sets answering to those of HOST... that start a process, in this order. Slurm itself notices a dead host only after minutes.
find_answering() { # WANTED HOST...: as soon as so many have answered
  local wanted=$1 folder host answered start now last=0 slowest=0 patience probes=() up=() down=()
  shift
  patience=$((3 * slowest_answer > 2000 ? 3 * slowest_answer : 2000))
  folder=$(mktemp -d)
  start=${EPOCHREALTIME/[.,]/}
  for host in "$@"; do
    if [[ $host == "$SLURMD_NODENAME" ]]; then # this one
      : >"$folder/up.$host"
      continue
    fi
    (
      trap - USR1 TERM
      if timeout --signal=KILL 30 srun --overlap --nodes=1 --ntasks=1 --nodelist="$host" --mpi=none --cpus-per-task=1 \
        --input=none --quiet true >/dev/null 2>&1; then : >"$folder/up.$host"; else : >"$folder/down.$host"; fi
    ) 2>/dev/null &
    probes+=($!)
    disown # or bash would tell of their end in the log
  done
  while :; do
    shopt -s nullglob
    up=("$folder"/up.*) down=("$folder"/down.*)
    shopt -u nullglob
    answered=${#up[@]}
    now=$(((${EPOCHREALTIME/[.,]/} - start) / 1000))
    if ((answered > last)); then last=$answered slowest=$now; fi
    if ((answered + ${#down[@]} == $# || (answered >= wanted && now > 300) || now > patience)); then break; fi
    sleep 0.05
  done
  # The next time, hosts get three times as long as the slowest of this time.
  if ((${#probes[@]} && answered > 1)); then slowest_answer=$slowest; fi
  answering=()
  for host in "$@"; do
    if [[ -e $folder/up.$host ]]; then answering+=("$host"); fi
  done
  if ((${#probes[@]})); then kill -KILL "${probes[@]}" 2>/dev/null || true; fi
  rm -rf -- "$folder"
}

# Hosts whose ranks died by a signal since LOG-OFFSET, while others did not.
blame_hosts() { # LOG-OFFSET HOST...
  local offset=$1 killed host
  shift
  # srun itself kills the others where it could not start one.
  if tail -c "+$((offset + 1))" -- "$log" | grep 'aborted before step completely launched' >/dev/null; then return; fi
  killed=$(tail -c "+$((offset + 1))" -- "$log" | sed -nE \
    -e 's/^srun: error: ([^ ]+): tasks? [^ ]+: (Killed|Segmentation fault|Bus error|Aborted|Illegal instruction).*/\1/p' \
    -e 's/^mpirun noticed that process rank [0-9]+ with PID [0-9]+ on node ([^ ]+) exited on signal.*/\1/p' |
    while IFS= read -r host; do scontrol show hostnames "$host"; done | sort -u)
  if [[ -z $killed || $(wc -l <<<"$killed") -ge $# ]]; then return; fi
  while IFS= read -r host; do
    blame[$host]=$((${blame[$host]:-0} + 1))
    say "a rank on $host was killed"
  done <<<"$killed"
}

# ---- progress -----------------------------------------------------------------------------------------------------------

# A number that rises with everything that a next start does not have to do again: steps of checkpoints, whole files of
# shards and caches, complete stages.
progress() {
  find "$run" -mindepth 2 -maxdepth 5 -path "$run/slurm" -prune -o \
    \( -name commit.json -path '*/checkpoints/step-*' -o -name '*.h5' -o -name complete.json -o -path "$run/shards/survey/*" ! -name '*.tmp' \) \
    -printf '%P\n' 2>/dev/null | awk -F/ '
      /\/commit\.json$/ {
        step = $(NF - 1); sub("step-", "", step); stage = $0; sub("/checkpoints/.*", "", stage)
        if (step + 0 > newest[stage]) newest[stage] = step + 0
        next
      }
      {files++}
      END {total = files + 0; for (stage in newest) total += newest[stage]; printf "%d", total}'
}
