# shellcheck shell=bash
# How ranks are started inside of a job: the command line of srun or mpirun. cluster/slurm/job.sh sources it.
: "${cskd_home:?}" "${log:?}" "${mpi:?}" "${launcher:?}" "${cpus_per_rank:?}" "${gpus:?}" "${gpu_request:?}"

# srun's options, each with its reason. Sets launch_line.
srun_line() { # STEP-NAME RANKS RANKS-PER-HOST HOST...
  local name=$1 ranks=$2 per_host=$3 hosts
  shift 3
  hosts=$(
    IFS=,
    printf '%s' "$*"
  )
  launch_line=(
    srun
    "--job-name=$name"
    # Open MPI gets to know its ranks through PMIx; without it each would be a world of one.
    "--mpi=$mpi"
    # Named, since what Slurm says of the job in its environment is outdated once the job has lost a host.
    "--nodes=$#" "--nodelist=$hosts"
    "--ntasks=$ranks" "--ntasks-per-node=$per_host"
    # Ranks of a host are neighbours, whatever the site's default.
    --distribution=block
    # What a step on a lost host had taken of this job counts as taken until Slurm has noticed.
    --overlap
    # Ranks end by themselves within seconds of a failure, after writing what they know. With 1, the site's default
    # perhaps, Slurm would send SIGTERM to all as soon as the first has ended with 75, a second signal to those that
    # are about to.
    --kill-on-bad-exit=0
    # But a rank that cannot end, such as one that waits for a dead file server, holds up nobody for longer than this.
    --wait=60
    # Threads of a rank stay on its cores, with its memory near by.
    --cpu-bind=cores
    # Sites that start jobs with an empty environment start steps so too.
    --export=ALL
  )
  if ((cpus_per_rank)); then
    # srun does not take this over from sbatch since Slurm 22.05: ranks would have one core.
    launch_line+=("--cpus-per-task=$cpus_per_rank")
  fi
  if ((gpus)); then
    # Again, since --cpus-per-task means that a step has only what it names. Not one GPU for each rank (--gpus-per-task,
    # --gpu-bind): NCCL copies between the GPUs of a host directly only where each rank sees them all, and cskd gives each
    # rank the GPU of its number. Nor --gpu-bind=none: Slurm 22.05 then tells ranks nothing of GPUs, and where devices are
    # not confined by cgroups they would see those of other jobs.
    launch_line+=("${gpu_request//'{}'/$gpus}")
  fi
  launch_line+=("${srun_options[@]}")
}

# Sets launch_line.
mpirun_line() { # STEP-NAME RANKS RANKS-PER-HOST HOST...
  local ranks=$2 per_host=$3 hosts
  shift 3
  hosts=$(printf "%s:$per_host," "$@")
  launch_line=(
    mpirun
    --host "${hosts%,}" -n "$ranks" --map-by "ppr:$per_host:node"
    # mpirun binds to one core by default; unbound, cskd shares the cores of a host among its ranks.
    --bind-to none
  )
}

# Starts COMMAND on ranks in the background, its output in the job's log; sets launcher_pid.
start_ranks() { # STEP-NAME RANKS RANKS-PER-HOST HOST... -- COMMAND...
  local before=()
  while [[ $1 != -- ]]; do
    before+=("$1")
    shift
  done
  shift
  "${launcher}_line" "${before[@]}"
  rm -f -- "$CSKD_RANK_0_FILE" "$CSKD_RANK_0_FILE.exit"
  "${launch_line[@]}" "$cskd_home/cluster/slurm/rank.sh" "$@" </dev/null &
  launcher_pid=$!
}

# Whether the process of rank 0 has ended. It always runs on this host, the first of the job.
rank_0_has_ended() {
  local host pid
  [[ -s $CSKD_RANK_0_FILE ]] && read -r host pid <"$CSKD_RANK_0_FILE" && [[ $host == "$(hostname)" && $pid =~ ^[0-9]+$ ]] &&
    ! kill -0 "$pid" 2>/dev/null
}

# Ends what is left of the ranks and of the launcher, also where a host does not answer.
end_ranks() { # STEP-NAME
  local step pid _
  for step in $(timeout 10 squeue --noheader --steps --jobs="$SLURM_JOB_ID" --format='%i %j' 2>/dev/null | awk -v name="$1" '$2 == name {print $1}'); do
    timeout 20 scancel --signal=KILL "$step" >/dev/null 2>&1 &
  done
  kill -KILL "$launcher_pid" 2>/dev/null || true
  wait "$launcher_pid" 2>/dev/null || true
  # The next rank 0 would find the run in use by this one.
  for _ in {1..50}; do
    if [[ ! -s $CSKD_RANK_0_FILE ]] || rank_0_has_ended; then return; fi
    read -r _ pid <"$CSKD_RANK_0_FILE"
    kill -KILL "$pid" 2>/dev/null || true
    sleep 0.1
  done
}

# The exit code of the run. The launcher's own is the highest of all ranks, so that ranks killed after the one with the cause
# hide its code; mpirun's is 1 where ranks stopped at a checkpoint after SIGTERM; and srun's is 0 where the step was ended
# by Slurm and no rank could tell. So only what rank 0 itself has told is a success or a stop.
true_exit_code() { # LAUNCHER-CODE LOG-OFFSET
  local code=$1 found told=''
  if [[ -r $CSKD_RANK_0_FILE.exit ]]; then read -r told <"$CSKD_RANK_0_FILE.exit" || true; fi
  case $told in
    2 | 3 | 75)
      printf '%d' "$told"
      return
      ;;
    0) ;;
    *) if ((!code)); then code=1; fi ;;
  esac
  for found in 3 2; do
    if tail -c "+$(($2 + 1))" -- "$log" | grep -E "^srun: error: .*Exited with exit code $found\$" >/dev/null; then
      printf '%d' "$found"
      return
    fi
  done
  printf '%d' "$code"
}
