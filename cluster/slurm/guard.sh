#!/usr/bin/env bash
# Starts a job again whose first host is gone: guard.sh JOB HOST LOG
#
# With --no-kill Slurm leaves a job running when it loses a host, also the one with the job script: the others would be held
# until the time limit by a job that does nothing. So a second host asks Slurm now and then whether that one still belongs
# to the job.
set -euo pipefail

job=$1 first=$2 log=$3
while sleep "${CSKD_GUARD_INTERVAL:-20}"; do
  if ! facts=$(timeout 10 squeue --noheader --jobs="$job" --format='%T %N'); then continue; fi
  state=${facts%% *} hosts=${facts#* }
  if [[ $state != RUNNING ]]; then continue; fi # Slurm ends this step with the job
  if ! names=$(scontrol show hostnames "$hosts"); then continue; fi
  if [[ $'\n'$names$'\n' == *$'\n'"$first"$'\n'* ]]; then continue; fi
  printf '[%(%F %T)T %s] Slurm has lost %s, where the script of job %s ran: it is queued again\n' -1 "$(hostname)" "$first" "$job" >>"$log"
  timeout 30 scontrol requeue "$job" >>"$log" 2>&1
  exit 0
done
