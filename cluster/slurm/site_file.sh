# shellcheck shell=bash disable=SC2154 # time_forms of submission.sh
# The settings of a site: KEY = VALUE lines of one file, read strictly. launch/submit.sh sources it and provides refuse().

# Keys with their defaults. cluster/slurm/site.conf tells what each means.
declare -A site=(
  [partition]='' [cpu_partition]='' [cpu_ranks_per_node]=1 [account]='' [qos]='' [constraint]='' [time]=''
  [gpu_request]='--gpus-per-node={}' [memory]='' [cpus_per_rank]='' [signal_before]=120
  [launcher]=srun [mpi]=pmix [modules]='' [setup]='' [program]='' [container]='' [container_options]=''
  [network]='' [infiniband]=''
)
# Keys that may be given several times.
declare -A site_lists=([sbatch]='' [srun]='' [environment]='')

nearest_name() { # NAME CANDIDATE...: the candidate with the fewest changed letters, when these are few
  printf '%s\n' "$@" | awk '
    function least(a, b, c) { return a < b ? (a < c ? a : c) : (b < c ? b : c) }
    function distance(a, b,    i, j, previous, row) {
      for (j = 0; j <= length(b); j++) previous[j] = j
      for (i = 1; i <= length(a); i++) {
        row[0] = i
        for (j = 1; j <= length(b); j++)
          row[j] = least(previous[j] + 1, row[j - 1] + 1, previous[j - 1] + (substr(a, i, 1) != substr(b, j, 1)))
        for (j = 0; j <= length(b); j++) previous[j] = row[j]
      }
      return previous[length(b)]
    }
    NR == 1 {name = $0; best = int(length(name) / 3) + 1; next}
    {d = distance(name, $0); if (d <= best && !(found != "" && d == best)) {best = d; found = $0}}
    END {if (found != "") print found}'
}

did_you_mean() { # NAME CANDIDATE...
  local found
  found=$(nearest_name "$@")
  if [[ -n $found ]]; then printf "; did you mean '%s'?" "$found"; fi
}

trimmed() { # TEXT
  local text=${1#"${1%%[![:space:]]*}"}
  printf '%s' "${text%"${text##*[![:space:]]}"}"
}

check_site_value() { # PLACE KEY VALUE
  case $2 in
    launcher)
      if [[ $3 != srun && $3 != mpirun ]]; then refuse "$1: launcher is '$3'; expected srun or mpirun"; fi
      ;;
    cpu_ranks_per_node | cpus_per_rank | signal_before)
      if [[ ! $3 =~ ^[1-9][0-9]{0,5}$ ]]; then refuse "$1: $2 is '$3'; expected a whole number, 1 or more"; fi
      ;;
    gpu_request)
      if [[ $3 != -*'{}'* ]]; then
        refuse "$1: gpu_request is '$3'; expected an option with {} for the number of GPUs of a node" "such as --gres=gpu:a100:{}"
      fi
      ;;
    time)
      if ! is_slurm_time "$3"; then refuse "$1: time is '$3'; $time_forms"; fi
      ;;
    setup | container)
      if [[ $3 != /* ]]; then refuse "$1: $2 is '$3'; expected a path that begins with /, since jobs start elsewhere"; fi
      if [[ ! -r $3 ]]; then refuse "$1: $2: cannot read $3"; fi
      ;;
    environment)
      if [[ ! $3 =~ ^[A-Za-z_][A-Za-z0-9_]*= ]]; then refuse "$1: environment is '$3'; expected NAME=VALUE"; fi
      ;;
    sbatch | srun)
      if [[ $3 != -* ]]; then refuse "$1: $2 is '$3'; expected an option such as --nice=100"; fi
      ;;
  esac
}

read_site_file() { # FILE
  local file=$1 number=0 line key value
  local -A seen=()
  if [[ ! -r $file || -d $file ]]; then
    refuse "cannot read the site file $file" "copy cluster/slurm/site.conf, set what your site needs, and name the copy: --site FILE"
  fi
  while IFS= read -r line || [[ -n $line ]]; do
    number=$((number + 1))
    line=$(trimmed "${line%%#*}")
    if [[ -z $line ]]; then continue; fi
    if [[ $line != *=* ]]; then refuse "$file:$number: found '$line'; expected KEY = VALUE"; fi
    key=$(trimmed "${line%%=*}")
    value=$(trimmed "${line#*=}")
    if [[ ! -v site[$key] && ! -v site_lists[$key] ]]; then
      refuse "$file:$number: unknown key '$key'$(did_you_mean "$key" "${!site[@]}" "${!site_lists[@]}")"
    fi
    if [[ -z $value ]]; then refuse "$file:$number: $key has no value; leave the line out for the default"; fi
    check_site_value "$file:$number" "$key" "$value"
    if [[ -v site_lists[$key] ]]; then
      site_lists[$key]+=$value$'\n'
    elif [[ -v seen[$key] ]]; then
      refuse "$file:$number: $key was set before, in line ${seen[$key]}"
    else
      seen[$key]=$number
      site[$key]=$value
    fi
  done <"$file"
}
