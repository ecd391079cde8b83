# shellcheck shell=bash disable=SC2154,SC2016 # variables of launch/submit.sh; text for another shell
# The script of one job, for sbatch. launch/submit.sh sources it.

assignment() { # NAME VALUE
  printf '%s=%q\n' "$1" "$2"
}

array() { # NAME VALUE...
  local name=$1
  shift
  printf '%s=(' "$name"
  if (($#)); then printf ' %q' "$@"; fi
  printf ' )\n'
}

sbatch_option() { # NAME VALUE: a line, unless the value is empty
  if [[ -n $2 ]]; then printf '#SBATCH --%s=%s\n' "$1" "$2"; fi
}

# Slurm reads quotes and % in the lines of a script.
sbatch_path() { # PATH ENDING
  local path=${1//%/%%}
  path=${path//\\/\\\\}
  printf '"%s%s"' "${path//\"/\\\"}" "$2"
}

# Prints the script that runs STAGE; its settings are in job[...].
job_script() {
  local each
  printf '#!/usr/bin/env bash\n'
  printf '# cskd %s, written by launch/submit.sh. To submit it once more: sbatch %q\n' "${job[command]}" "${job[file]}"
  sbatch_option job-name "cskd-${job[name]}"
  sbatch_option partition "${job[partition]}"
  for each in account qos constraint; do sbatch_option "$each" "${site[$each]}"; done
  sbatch_option time "${job[time]}"
  sbatch_option nodes "$((job[nodes] + job[spare]))"
  sbatch_option ntasks-per-node "${job[ranks_per_node]}"
  if ((job[cpus_per_rank])); then sbatch_option cpus-per-task "${job[cpus_per_rank]}"; fi
  if ((job[gpus])); then printf '#SBATCH %s\n' "${site[gpu_request]//'{}'/${job[gpus]}}"; fi
  sbatch_option mem "${site[memory]}"
  printf '# Queued again after the loss of a host or a preemption, with one log for all starts.\n#SBATCH --requeue\n#SBATCH --open-mode=append\n'
  sbatch_option output "$(sbatch_path "${job[log]}" -%j.log)"
  printf '# Before the end of the job this script, and no one else, gets SIGUSR1: it asks the ranks for a checkpoint.\n'
  printf '#SBATCH --signal=B:USR1@%s\n' "${site[signal_before]}"
  if ((job[nodes] + job[spare] > 1)); then
    printf '# A lost host does not end the job: it goes on on those that are left.\n#SBATCH --no-kill\n'
  fi
  while IFS= read -r each; do
    if [[ -n $each ]]; then printf '#SBATCH %s\n' "$each"; fi
  done <<<"${site_lists[sbatch]}"

  printf '\n'
  if [[ -n ${site[modules]} ]]; then
    printf 'type module >/dev/null 2>&1 || source /etc/profile\n'
    printf 'module load'
    # shellcheck disable=SC2086 # names, one a word
    printf ' %q' ${site[modules]}
    printf ' || { echo "cannot load the modules that the site file names" >&2; exit 1; }\n'
  fi
  if [[ -n ${site[setup]} ]]; then printf 'source %q\n' "${site[setup]}"; fi
  printf 'set -euo pipefail\n'
  assignment cskd_home "$cskd_home"
  assignment CSKD_NETWORK "${site[network]}"
  assignment CSKD_INFINIBAND "${site[infiniband]}"
  printf 'source "$cskd_home/cluster/nodes/environment.sh"\n'
  while IFS= read -r each; do
    if [[ -n $each ]]; then printf 'export %s=%q\n' "${each%%=*}" "${each#*=}"; fi
  done <<<"${site_lists[environment]}"

  printf '\n'
  assignment job_file "${job[file]}"
  assignment job_name "${job[name]}"
  printf 'log=%q-$SLURM_JOB_ID.log\n' "${job[log]}"
  assignment command "${job[command]}"
  assignment config "$config"
  assignment run "${settings[run.folder]}"
  array cskd "${cskd[@]}"
  array set_arguments "${set_arguments[@]}"
  array stage_arguments "${stage_arguments[@]}"
  for each in nodes spare min_nodes ranks_per_node cpus_per_rank gpus micro_batches power_of_two; do
    assignment "$each" "${job[$each]}"
  done
  assignment gpu_request "${site[gpu_request]}"
  assignment launcher "${site[launcher]}"
  assignment mpi "${site[mpi]}"
  mapfile -t each < <(printf '%s' "${site_lists[srun]}")
  array srun_options "${each[@]}"
  assignment with_doctor "$with_doctor"
  assignment max_stops "$max_stops"
  assignment max_failures "$max_failures"
  printf 'source "$cskd_home/cluster/slurm/job.sh"\n'
}
