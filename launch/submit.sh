#!/usr/bin/env bash
# Hands a run over to Slurm. docs/cluster.md tells how it goes on there.
set -euo pipefail

usage() {
  cat <<'END'
usage: launch/submit.sh CONFIG --nodes N [OPTION...]

Writes the job scripts of a run to <run.folder>/slurm/ and submits them: one job for all stages (cskd run), or with --chain
one for each stage, each after the one before. A job stops at a checkpoint before its time is over or when it is preempted,
is queued again and goes on; it goes on at once on the other hosts when it loses one.

  --nodes N               nodes of a job
  --gpus-per-node G       GPUs of each, one rank for each GPU. Default: all GPUs of the partition's nodes
  --ranks-per-node R      ranks of each node, without GPUs. Default where there are no GPUs: 1, with all cores
  --spare K               more nodes, which wait for another to fail (0)
  --min-nodes M           fewest nodes to go on with after losses; with fewer the job is queued again (half of --nodes)

  --chain                 one job for each stage
  --stages A,B,...        only these: single stages (align.student) or all of a kind (align); in the order of the graph
  --stage-nodes A=N,...   nodes of single stages or kinds in a chain; by default --nodes, fewer where micro_batches wants that, and one
                          for evaluate
  --sweep                 the members of a sweep (cskd sweep), by the configuration's [sweep] or --over KEY=VALUE,VALUE,...; once for each
  --after JOB             the first job waits until that one has succeeded

  --partition P           where; --time T for how long at a time (24:00:00, 3-12:00). Both also in the site file
  --site FILE             settings of your site; default: CSKD_SITE, or none. cluster/slurm/site.conf tells the keys
  --set KEY=VALUE         changes a key of the configuration; once for each. --allow-change NAME as in cskd run
  --no-doctor             without the examination of all hosts at each start (cskd doctor)
  --max-failures F        failures in turn without progress after which a job gives up (3)
  --max-stops S           checkpointed stops after which a job is not queued again (1000)
  --folder DIR            for scripts and logs, instead of <run.folder>/slurm
  --dry-run               shows scripts and sbatch lines; writes and submits nothing
END
}

complain() { # WHAT REMEDY...
  printf 'submit.sh: %s\n' "$1" >&2
  shift
  if (($#)); then printf '           %s\n' "$@" >&2; fi
}

refuse() { # WHAT REMEDY...
  complain "$@"
  exit 2
}

fail() { # CODE WHAT REMEDY...
  complain "${@:2}"
  exit "$1"
}

cskd_home=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd -P)
# shellcheck source=cluster/slurm/site_file.sh
source "$cskd_home/cluster/slurm/site_file.sh"
# shellcheck source=cluster/slurm/submission.sh
source "$cskd_home/cluster/slurm/submission.sh"
# shellcheck source=cluster/slurm/job_file.sh
source "$cskd_home/cluster/slurm/job_file.sh"
# shellcheck source=cluster/slurm/shape.sh
source "$cskd_home/cluster/slurm/shape.sh"

graph=() kinds=() # stages of the configuration in their order, and their kinds
options=(--nodes --gpus-per-node --ranks-per-node --spare --min-nodes --chain --stages --stage-nodes --sweep --over --after --partition --time
  --site --set --allow-change --no-doctor --max-failures --max-stops --folder --dry-run --help)
config='' site_path=${CSKD_SITE:-} folder='' after='' asked_partition='' asked_time='' stage_list=''
node_count='' gpu_count='' rank_count='' spare_count=0 least_nodes='' max_failures=3 max_stops=1000
is_chain=false is_sweep=false is_dry=false with_doctor=true has_slurm=true
set_arguments=() stage_arguments=()
declare -A stage_nodes=() job=()

# ---- the command line ---------------------------------------------------------------------------------------------------

is_one_of() { # WORD CANDIDATE...
  local word=$1 each
  shift
  for each in "$@"; do
    if [[ $each == "$word" ]]; then return; fi
  done
  return 1
}

require_number() { # OPTION VALUE LEAST
  if [[ ! $2 =~ ^[0-9]{1,6}$ ]] || ((10#$2 < $3)); then refuse "$1 is '$2'; expected a whole number, $3 or more"; fi
}

require_stage() { # OPTION NAME
  if ! is_one_of "$2" "${graph[@]}" "${kinds[@]}"; then
    refuse "$1 names '$2'$(did_you_mean "$2" "${graph[@]}" "${kinds[@]}")" "stages are: ${graph[*]}"
  fi
}

read_stage_nodes() { # TEXT
  local each pairs
  IFS=, read -r -a pairs <<<"$1"
  for each in "${pairs[@]}"; do
    if [[ $each != *=* ]]; then refuse "--stage-nodes holds '$each'; expected STAGE=NODES, such as shard=2"; fi
    require_number "--stage-nodes ${each%%=*}" "${each#*=}" 1
    stage_nodes[${each%%=*}]=${each#*=}
  done
}

read_command_line() {
  local option value
  while (($#)); do
    option=$1
    shift
    case $option in
      -h | --help)
        usage
        exit 0
        ;;
      --chain) is_chain=true ;;
      --sweep) is_sweep=true ;;
      --dry-run) is_dry=true ;;
      --no-doctor) with_doctor=false ;;
      -*)
        value=
        if [[ $option == --*=* ]]; then
          value=${option#*=} option=${option%%=*}
        fi
        if ! is_one_of "$option" "${options[@]}"; then
          refuse "unknown option '$option'$(did_you_mean "$option" "${options[@]}")" "launch/submit.sh --help lists what there is"
        fi
        if [[ -z $value ]]; then
          if ((!$#)) || [[ -z $1 || $1 == --* ]]; then refuse "$option lacks its value"; fi
          value=$1
          shift
        fi
        read_option "$option" "$value"
        ;;
      *)
        if [[ -n $config ]]; then refuse "'$option' is one configuration too many, after '$config'"; fi
        config=$option
        ;;
    esac
  done
}

read_option() { # OPTION VALUE
  case $1 in
    --nodes) require_number "$@" 1 && node_count=$((10#$2)) ;;
    --gpus-per-node) require_number "$@" 1 && gpu_count=$((10#$2)) ;;
    --ranks-per-node) require_number "$@" 1 && rank_count=$((10#$2)) ;;
    --spare) require_number "$@" 0 && spare_count=$((10#$2)) ;;
    --min-nodes) require_number "$@" 1 && least_nodes=$((10#$2)) ;;
    --max-failures) require_number "$@" 0 && max_failures=$((10#$2)) ;;
    --max-stops) require_number "$@" 1 && max_stops=$((10#$2)) ;;
    --after) require_number "$@" 1 && after=$((10#$2)) ;;
    --stages) is_chain=true stage_list=$2 ;;
    --stage-nodes) read_stage_nodes "$2" ;;
    --over) is_sweep=true stage_arguments+=(--over "$2") ;;
    --partition) asked_partition=$2 ;;
    --time)
      if ! is_slurm_time "$2"; then refuse "--time is '$2'; $time_forms"; fi
      asked_time=$2
      ;;
    --site) site_path=$2 ;;
    --folder) folder=$2 ;;
    --set) set_arguments+=(--set "$2") ;;
    --allow-change) stage_arguments+=(--allow-change "$2") ;;
    *) refuse "$1 takes no value" ;;
  esac
}

check_command_line() {
  local stage
  if [[ -z $config ]]; then refuse "name a configuration" "launch/submit.sh configs/demo.toml --nodes 2"; fi
  if [[ ! -f $config || ! -r $config ]]; then refuse "cannot read the configuration $config"; fi
  config=$(realpath -- "$config")
  if [[ -z $node_count ]]; then refuse "--nodes is missing: how many nodes a job takes" "launch/submit.sh $config --nodes 2"; fi
  if [[ -n $gpu_count && -n $rank_count ]]; then
    refuse "--gpus-per-node and --ranks-per-node exclude each other" "with GPUs there is one rank for each; without them, give --ranks-per-node"
  fi
  if $is_sweep && $is_chain; then
    refuse "--sweep and --chain exclude each other" "the members of a sweep share results, in one job that goes on by itself"
  fi
  if [[ -z $least_nodes ]]; then least_nodes=$(((node_count + 1) / 2)); fi
  if ((least_nodes > node_count)); then refuse "--min-nodes $least_nodes is more than --nodes $node_count"; fi
}

# Sets stages to those that get jobs.
choose_stages() {
  local each stage wanted=()
  for stage in "${graph[@]}"; do
    if ! is_one_of "${stage%%.*}" "${kinds[@]}"; then kinds+=("${stage%%.*}"); fi
  done
  stages=(run)
  if $is_sweep; then stages=(sweep); fi
  if [[ -n $stage_list ]]; then
    IFS=, read -r -a wanted <<<"$stage_list"
    for each in "${wanted[@]}"; do require_stage --stages "$each"; done
    stages=()
    for stage in "${graph[@]}"; do
      if is_one_of "$stage" "${wanted[@]}" || is_one_of "${stage%%.*}" "${wanted[@]}"; then stages+=("$stage"); fi
    done
  elif $is_chain; then
    stages=("${graph[@]}")
  fi
  for each in "${!stage_nodes[@]}"; do
    require_stage --stage-nodes "$each"
    for stage in "${stages[@]}"; do
      if [[ $each == "$stage" || $each == "${stage%%.*}" ]]; then continue 2; fi
    done
    refuse "--stage-nodes names $each, which is not among the jobs" "it belongs to --chain or --stages"
  done
}

# Nodes that --stage-nodes gives STAGE, itself before its kind; nothing without.
nodes_of() { # STAGE
  printf '%s' "${stage_nodes[$1]:-${stage_nodes[${1%%.*}]:-}}"
}

# ---- jobs ---------------------------------------------------------------------------------------------------------------

find_program() {
  local program=${site[program]:-$cskd_home/build/release/cskd} container_options
  cskd=("$program")
  if [[ -n ${site[container]} ]]; then
    read -r -a container_options <<<"${site[container_options]}"
    cskd=(apptainer exec "${container_options[@]}" "${site[container]}" "${site[program]:-/opt/cskd/build/release/cskd}")
    if ! command -v apptainer >/dev/null; then fail 1 "apptainer was not found, which starts ${site[container]}"; fi
  elif [[ ! -x $program ]]; then
    fail 1 "$program is missing" "launch/setup.sh builds it"
  fi
}

# Fills job[...] for STAGE.
plan_job() { # STAGE
  local stage=$1 wanted shape where=--partition
  job=([name]=$stage [command]=$stage [nodes]=$node_count [spare]=$spare_count [min_nodes]=$least_nodes [time]=${asked_time:-${site[time]}}
    [file]=$folder/$stage.sbatch [log]=$folder/$stage [gpus]=0 [cpus_per_rank]=${site[cpus_per_rank]:-0})
  partition=${asked_partition:-${site[partition]}}
  if [[ -z $asked_partition ]]; then where="$site_path: partition"; fi
  local gpus=$gpu_count ranks=$rank_count
  if [[ $stage == shard && -n ${site[cpu_partition]} ]]; then
    partition=${site[cpu_partition]} where="$site_path: cpu_partition" gpus=0 ranks=${site[cpu_ranks_per_node]}
  fi
  node_cpus=0 node_gpus=0
  if $has_slurm; then read_partition "$partition" "$where"; fi
  job[partition]=$partition
  if [[ -z $gpus && -z $ranks && $node_gpus -gt 0 ]]; then gpus=$node_gpus; fi
  if [[ -z $ranks ]] && ((${gpus:-0})); then
    if $has_slurm && ((gpus > node_gpus)); then refuse "--gpus-per-node $gpus: hosts of partition $partition have $node_gpus"; fi
    job[gpus]=$gpus ranks=$gpus
  fi
  ranks=${ranks:-1}

  if [[ $stage == evaluate ]]; then job[nodes]=1; fi
  if [[ -n $(nodes_of "$stage") ]]; then job[nodes]=$(nodes_of "$stage"); fi
  read_divisors "$stage"
  job[micro_batches]=$micro_batches job[power_of_two]=$power_of_two
  wanted=$((job[nodes] * ranks))
  read -r -a shape < <(shape_of "${job[nodes]}" "$ranks" "$micro_batches" "$power_of_two")
  if ((shape[0] * shape[1] != wanted)) && { [[ $stage == run || $stage == sweep ]] || [[ -n $(nodes_of "$stage") ]]; }; then
    refuse "$stage: $wanted ranks (${job[nodes]} nodes with $ranks each) do not divide micro_batches = $micro_batches of its training$($power_of_two && echo ', and "elastic" wants a power of two')" \
      "at most $((shape[0] * shape[1])) ranks fit: ${shape[0]} nodes with ${shape[1]} each; or raise micro_batches; or --chain, where each stage takes what it can use"
  fi
  job[nodes]=${shape[0]} job[ranks_per_node]=${shape[1]}
  if ((job[gpus])); then job[gpus]=${shape[1]}; fi
  if ((job[min_nodes] > job[nodes])); then job[min_nodes]=$(((job[nodes] + 1) / 2)); fi
  if ((!job[cpus_per_rank] && node_cpus)); then
    job[cpus_per_rank]=$((node_cpus / (job[gpus] ? (node_gpus > job[gpus] ? node_gpus : job[gpus]) : job[ranks_per_node])))
    if ((!job[cpus_per_rank])); then job[cpus_per_rank]=1; fi
  fi
  if [[ -n ${job[time]} ]] && (($(seconds_of "${job[time]}") <= site[signal_before] + 60)); then
    refuse "--time ${job[time]} leaves no time to work: the job stops ${site[signal_before]} s before its end" "give more, or lower signal_before in the site file"
  fi
  if $has_slurm; then check_job_fits $((job[nodes] + job[spare])) "${job[time]}" "$stage"; fi
}

refuse_second_submission() {
  local list
  if [[ ! -s $folder/jobs ]]; then return; fi
  list=$(timeout 20 squeue --noheader --jobs="$(paste -sd, "$folder/jobs")" --format='%i (%T)' 2>/dev/null | grep -v COMPLETING) || return 0
  if [[ -n $list ]]; then
    refuse "this run is with Slurm already: job $(paste -sd' ' <<<"$list")" "only one job at a time works in a run folder; to end them: scancel $(cut -d' ' -f1 <<<"$list" | paste -sd' ')"
  fi
}

dependency_options() {
  dependency=()
  # Never: a job whose predecessor failed would otherwise wait for ever.
  if [[ -n $after ]]; then dependency=("--dependency=afterok:$after" --kill-on-invalid-dep=yes); fi
}

show() {
  local stage previous=$after
  for stage in "${stages[@]}"; do
    plan_job "$stage"
    after=$previous
    dependency_options
    printf '# ---- %s ----\n' "${job[file]}"
    job_script
    # shellcheck disable=SC2016 # what the shell would set
    printf '\n$ sbatch --parsable'
    if ((${#dependency[@]})); then printf ' %s' "${dependency[@]}"; fi
    printf ' %q\n\n' "${job[file]}"
    previous="JOB-OF-${stage^^}"
  done
}

submit() {
  local stage answer submitted=() lines=() text
  mkdir -p -- "$folder"
  refuse_second_submission
  # All are written and examined before the first is submitted.
  for stage in "${stages[@]}"; do
    plan_job "$stage"
    job_script >"${job[file]}.tmp"
    mv -f -- "${job[file]}.tmp" "${job[file]}"
    # "Not available" may also mean that hosts are down at the moment: then sbatch itself decides.
    if ! answer=$(timeout 60 sbatch --test-only "${job[file]}" 2>&1) && [[ $answer != *'configuration is not available'* ]]; then
      fail 2 "Slurm refuses the job of $stage: $(sed -n 's/^\(sbatch\|allocation failure\): \(error: \)\?//p' <<<"$answer" | paste -sd' ')" "its script: ${job[file]}"
    fi
    printf -v text '%-19s %d node%s x %d rank%s%s%s' "$stage" "${job[nodes]}" "$( ((job[nodes] == 1)) || echo s)" "${job[ranks_per_node]}" \
      "$( ((job[ranks_per_node] == 1)) || echo s)" "$( ((!job[gpus])) || echo ' and GPUs')" "$( ((!job[spare])) || echo ", ${job[spare]} spare")"
    lines+=("$text")
  done
  : >"$folder/jobs"
  for stage in "${stages[@]}"; do
    dependency_options
    if ! answer=$(timeout 60 sbatch --parsable "${dependency[@]}" "$folder/$stage.sbatch" 2>&1); then
      if ((${#submitted[@]})); then timeout 60 scancel "${submitted[@]}" || true; fi
      fail 1 "sbatch did not take $stage: $answer" "what had been submitted before it was cancelled: ${submitted[*]:-nothing}"
    fi
    after=$(tail -n 1 <<<"$answer")
    after=${after%%;*} # of another cluster: JOB;CLUSTER
    printf '%s\n' "$after" >>"$folder/jobs"
    printf 'job %-8s %s%s\n' "$after" "${lines[${#submitted[@]}]}" "${dependency[0]:+, after job ${dependency[0]##*:}}"
    submitted+=("$after")
  done
  printf 'logs   %s\nwatch  %s\nstop   scancel %s\n' "$folder/STAGE-JOB.log" "${cskd[*]} status ${settings[run.folder]} --watch" "${submitted[*]}"
}

main() {
  read_command_line "$@"
  check_command_line
  if [[ -n $site_path ]]; then read_site_file "$site_path"; fi
  find_program
  read_configuration "${cskd[@]}" config "$config" "${set_arguments[@]}"
  read_graph "${cskd[@]}" plan "$config" "${set_arguments[@]}" --names
  choose_stages
  if [[ -n $folder ]]; then folder=$(realpath -m -- "$folder"); else folder=${settings[run.folder]}/slurm; fi
  if ! command -v sbatch >/dev/null; then
    if ! $is_dry; then fail 1 "sbatch was not found" "submit on a login node of the cluster, or load Slurm's module"; fi
    has_slurm=false
    printf 'submit.sh: there is no Slurm here: partition, time, nodes and PMIx were not looked at\n' >&2
  else
    check_launcher
  fi
  if $is_dry; then show; else submit; fi
}

main "$@"
