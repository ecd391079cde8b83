# shellcheck shell=bash
# What happens in a job: go or no-go, ranks, starting again, queueing again. The script that launch/submit.sh wrote sources
# it, with these set, and with the arrays cskd (the command), set_arguments, stage_arguments and srun_options.
: "${cskd_home:?}" "${job_file:?}" "${job_name:?}" "${log:?}" "${command:?}" "${config:?}" "${run:?}" "${launcher:?}" "${mpi:?}"
: "${nodes:?}" "${spare:?}" "${min_nodes:?}" "${ranks_per_node:?}" "${cpus_per_rank:?}" "${gpus:?}" "${gpu_request:?}"
: "${micro_batches:?}" "${power_of_two:?}" "${with_doctor:?}" "${max_stops:?}" "${max_failures:?}"
: "${cskd[0]:?}" "${set_arguments[*]-}"

# shellcheck source=cluster/slurm/launcher.sh
source "$cskd_home/cluster/slurm/launcher.sh"
# shellcheck source=cluster/slurm/relaunch.sh
source "$cskd_home/cluster/slurm/relaunch.sh"
# shellcheck source=cluster/slurm/shape.sh
source "$cskd_home/cluster/slurm/shape.sh"

history_file=${log%.log}.history
export CSKD_RANK_0_FILE=${log%.log}.rank-0
launcher_pid=
attempt=0
unreachable=''       # hosts that the last start was found to have lost
stop_asked=false     # SIGUSR1: a checkpoint, and to the queue again
ending=false         # SIGTERM: Slurm ends the job (scancel, preemption, another requeue) and has told the ranks
declare -A guards=() # host -> process
guards_looked_at=0

say() { printf '[%(%F %T)T %s] %s\n' -1 "$SLURMD_NODENAME" "$*"; }

# ---- signals ------------------------------------------------------------------------------------------------------------

on_stop() {
  stop_asked=true
  say "SIGUSR1: the run is asked for a checkpoint"
  # Both srun and mpirun hand it to all ranks. A second signal would end them at once: so never twice.
  if [[ -n $launcher_pid ]] && ! $was_forwarded; then kill -USR1 "$launcher_pid" 2>/dev/null || true; fi
  was_forwarded=true
}

on_end() {
  ending=true
  say "SIGTERM: Slurm ends the job; the ranks write a checkpoint if they are given the time"
  # To the script alone, by scancel --batch, it means a stop without another start.
  if [[ -n $launcher_pid && $(timeout 10 squeue --noheader --jobs="$SLURM_JOB_ID" --format=%T) == RUNNING ]] && ! $was_forwarded; then
    was_forwarded=true
    kill -USR1 "$launcher_pid" 2>/dev/null || true
  fi
}

# ---- what is remembered across starts of the job ------------------------------------------------------------------------

stops=0      # ends with 75
idle_stops=0 # of them in turn, without progress
failures=0   # in turn, without progress
total_failures=0
best_progress=0

read_history() {
  local key value
  if [[ ! -r $history_file ]]; then return; fi
  while IFS='=' read -r key value; do
    if [[ $value =~ ^[0-9]+$ ]]; then
      case $key in
        stops | idle_stops | failures | total_failures | best_progress) printf -v "$key" %d "$value" ;;
      esac
    fi
  done <"$history_file"
}

write_history() {
  printf '%s=%d\n' stops "$stops" idle_stops "$idle_stops" failures "$failures" total_failures "$total_failures" \
    best_progress "$best_progress" >"$history_file.tmp"
  mv -f -- "$history_file.tmp" "$history_file"
}

made_progress() {
  local now
  now=$(progress)
  if ((now <= best_progress)); then return 1; fi
  best_progress=$now
}

# ---- ends ---------------------------------------------------------------------------------------------------------------

leave() { # CODE TEXT
  say "$2; exit code $1"
  write_history
  end_guards
  rm -f -- "$CSKD_RANK_0_FILE" "$CSKD_RANK_0_FILE.exit"
  if ((!$1)); then rm -f -- "$history_file"; fi
  exit "$1"
}

queue_again() { # CODE WHY: CODE for the case that it cannot be
  say "$2: the job is queued again"
  write_history
  if ! timeout 60 scontrol requeue "$SLURM_JOB_ID"; then
    leave "$1" "Slurm does not queue it again (JobRequeue=0 in slurm.conf?); go on with: sbatch $job_file"
  fi
  # A host that failed again and again must not come back. Only a waiting job can be changed.
  local host unwanted=''
  for host in "${!blame[@]}"; do
    if ((blame[$host] >= 2)); then unwanted+=${unwanted:+,}$host; fi
  done
  if [[ -n $unwanted ]] && timeout 20 scontrol update JobId="$SLURM_JOB_ID" ExcNodeList="$unwanted"; then
    say "without $unwanted from now on"
  fi
  exit 75
}

after_stop() {
  stops=$((stops + 1))
  if made_progress; then idle_stops=0 failures=0; else idle_stops=$((idle_stops + 1)); fi
  if $ending; then leave 75 "stopped at a checkpoint"; fi
  if ((idle_stops >= 3)); then
    leave 75 "stopped $idle_stops times in turn without getting anywhere: give the job more time"
  fi
  if ((stops >= max_stops)); then leave 75 "stopped $stops times, as often as --max-stops allows"; fi
  queue_again 75 "stopped at a checkpoint (stop $stops)"
}

# ---- one start of the ranks ---------------------------------------------------------------------------------------------

# Runs COMMAND on ranks until it has ended; sets code, and unreachable to the hosts that were found not to answer.
run_ranks() { # RANKS RANKS-PER-HOST HOST... -- COMMAND...
  local step log_offset gone_since=0 patience=1500 now host hosts=()
  attempt=$((attempt + 1))
  step=cskd-$job_name-$attempt
  log_offset=$(stat -c %s -- "$log")
  attempt_offset=$log_offset unreachable='' was_forwarded=false
  for host in "${@:3}"; do
    if [[ $host == -- ]]; then break; fi
    hosts+=("$host")
  done
  start_ranks "$step" "$@"
  if $stop_asked && ! $was_forwarded; then on_stop; fi
  while kill -0 "$launcher_pid" 2>/dev/null; do
    sleep 0.25 &
    wait $! || true
    keep_guards
    if ! rank_0_has_ended; then
      gone_since=0
      continue
    fi
    now=$((${EPOCHREALTIME/[.,]/} / 1000))
    if ((!gone_since)); then gone_since=$now; fi
    if ((now - gone_since < patience)); then continue; fi
    # The others end too, or srun waits for a host that is gone.
    find_answering "${#hosts[@]}" "${hosts[@]}"
    for host in "${hosts[@]}"; do
      if [[ " ${answering[*]} " != *" $host "* ]]; then unreachable+=" $host"; fi
    done
    patience=$((now - gone_since + 5000))
    if [[ -z $unreachable ]] && ((now - gone_since < 70000)); then continue; fi
    say "rank 0 has ended, but $launcher waits${unreachable:+ for$unreachable, which does not answer}"
    code=1
    end_ranks "$step"
    launcher_pid=
    return
  done
  code=0
  wait "$launcher_pid" || code=$?
  launcher_pid=
  # A launcher that was killed has not ended its ranks.
  if ((code > 128)); then end_ranks "$step"; fi
  code=$(true_exit_code "$code" "$log_offset")
}

# Chooses among the hosts of the job; sets hosts and shape, or queues the job again.
choose_hosts() {
  local all host lost=$unreachable good=() bad=()
  mapfile -t all < <(hosts_of_job)
  # Those that were just found to be lost are asked again at the next start.
  for host in "${!all[@]}"; do
    if [[ " $lost " == *" ${all[host]} "* ]]; then unset 'all[host]'; fi
  done
  # At first all shall answer, later as many as are needed.
  find_answering $((attempt ? nodes : nodes + spare)) "${all[@]}"
  for host in "${answering[@]}"; do
    if ((${blame[$host]:-0} >= 2)); then bad+=("$host"); else good+=("$host"); fi
  done
  if ((${#bad[@]})); then say "left out, since ranks were killed there again and again: ${bad[*]}"; fi
  if ((${#good[@]} < min_nodes)) || [[ " ${good[*]} " != *" $SLURMD_NODENAME "* ]]; then
    queue_again 1 "${#good[@]} of ${#answering[@]} answering hosts can be used (${good[*]:-none}), at least $min_nodes are wanted, with the first of the job"
  fi
  if ((${#good[@]} > nodes)); then good=("${good[@]:0:nodes}"); fi
  read -r -a shape < <(shape_of "${#good[@]}" "$ranks_per_node" "$micro_batches" "$power_of_two")
  hosts=("${good[@]:0:shape[0]}")
  say "ranks: $((shape[0] * shape[1])), ${shape[1]} on each of: ${hosts[*]}"
}

# Two other hosts watch over this one, which Slurm does not replace with --no-kill.
start_guards() { # HOST...
  local host
  for host in "${!guards[@]}"; do
    if [[ " $* " == *" $host "* ]]; then continue; fi
    kill -KILL "${guards[$host]}" 2>/dev/null || true
    unset "guards[$host]"
  done
  for host in "$@"; do
    if [[ $host == "$SLURMD_NODENAME" || -v guards[$host] ]] || ((${#guards[@]} == 2)); then continue; fi
    start_guard "$host"
  done
}

start_guard() { # HOST
  srun --job-name=cskd-guard --overlap --nodes=1 --ntasks=1 --nodelist="$1" --mpi=none --cpus-per-task=1 --input=none --quiet \
    "$cskd_home/cluster/slurm/guard.sh" "$SLURM_JOB_ID" "$SLURMD_NODENAME" "$log" >/dev/null 2>&1 &
  guards[$1]=$!
  disown # or bash would tell of its end in the log
  guards_looked_at=$SECONDS
}

# Starts those again that have ended, for whatever reason.
keep_guards() {
  local host
  if ((SECONDS - guards_looked_at < 10)); then return; fi
  guards_looked_at=$SECONDS
  for host in "${!guards[@]}"; do
    if ! kill -0 "${guards[$host]}" 2>/dev/null; then start_guard "$host"; fi
  done
}

end_guards() {
  if ((${#guards[@]})); then kill -KILL "${guards[@]}" 2>/dev/null || true; fi
  guards=()
}

# ---- the job ------------------------------------------------------------------------------------------------------------

banner() {
  local version
  version=$("${cskd[@]}" --version 2>&1 | head -n 1) || {
    say "${cskd[*]} does not start on $SLURMD_NODENAME: $version"
    exit 1
  }
  printf '\n==== %s, job %s, start %d, %(%F %T %Z)T ====\n' "$job_name" "$SLURM_JOB_ID" $((${SLURM_RESTART_COUNT:-0} + 1)) -1
  printf '  %-15s%s\n' hosts "$SLURM_JOB_NODELIST, script on $SLURMD_NODENAME" program "$version, ${cskd[*]}" \
    configuration "$config" 'run folder' "$run" until "${SLURM_JOB_END_TIME:+$(date -d "@$SLURM_JOB_END_TIME" '+%F %T')}" \
    before "$stops stops, $total_failures failures"
}

# Slurm before 23.02 leaves it out, and cskd's --stop-before slurm needs it.
find_end_time() {
  local end
  if [[ -n ${SLURM_JOB_END_TIME:-} ]]; then return; fi
  end=$(timeout 10 squeue --noheader --jobs="$SLURM_JOB_ID" --format=%e) || return 0
  if end=$(date -d "$end" +%s 2>/dev/null); then export SLURM_JOB_END_TIME=$end; fi
}

job_main() {
  local pause
  local -a examined=() stage_names=()
  trap on_stop USR1
  trap on_end TERM
  read_history
  find_end_time
  banner
  if [[ -n ${SLURM_JOB_END_TIME:-} ]]; then stage_arguments+=(--stop-before slurm); fi
  choose_hosts
  if [[ $command == *.* ]]; then stage_names=("${command#*.}"); fi # of "align.student"
  if $with_doctor; then
    if [[ $command != run && $command != sweep ]]; then examined=(--stage "$command"); fi
    run_ranks $((shape[0] * shape[1])) "${shape[1]}" "${hosts[@]}" -- "${cskd[@]}" doctor "$config" "${set_arguments[@]}" "${examined[@]}"
    if $ending; then leave 75 "ended during the examination"; fi
    if $stop_asked; then after_stop; fi
    if ((code)); then leave "$code" "no-go: cskd doctor found something wrong, see above; submit with --no-doctor to start all the same"; fi
  fi
  best_progress=$(progress)
  while :; do
    if ((nodes + spare > 1)); then start_guards "${hosts[@]}"; fi
    run_ranks $((shape[0] * shape[1])) "${shape[1]}" "${hosts[@]}" -- "${cskd[@]}" "${command%%.*}" "$config" "${stage_names[@]}" "${set_arguments[@]}" "${stage_arguments[@]}"
    case $code in
      0) leave 0 "$command is done" ;;
      2) leave 2 "wrong configuration or command line, see above" ;;
      3) leave 3 "wrong data, see above" ;;
      75) after_stop ;;
    esac
    # Asked to stop before it could, as while it starts: it goes on from the checkpoint before.
    if $stop_asked; then after_stop; fi
    if $ending; then leave "$code" "ended"; fi

    total_failures=$((total_failures + 1))
    if made_progress; then failures=0; else failures=$((failures + 1)); fi
    say "the run failed with exit code $code${unreachable:+, lost:$unreachable}$( ((!failures)) || echo "; failure $failures in turn without progress")"
    if ((failures > max_failures)); then
      leave "$code" "$failures failures in turn without getting anywhere, more than --max-failures $max_failures: see the first of them"
    fi
    blame_hosts "$attempt_offset" "${hosts[@]}"
    # At once at first; a fault of the file system or network needs a little time.
    pause=$(((failures - 1) * 10))
    if ((pause > 0)); then
      say "starting again in $pause s"
      sleep "$pause" &
      wait $! || true
      if $ending; then leave "$code" "ended"; fi
      if $stop_asked; then after_stop; fi
    fi
    write_history
    choose_hosts
  done
}

job_main
