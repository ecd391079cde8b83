# shellcheck shell=bash disable=SC2034 # variables for launch/submit.sh
# What can be known before anything is submitted: the configuration, and what Slurm says of the partition.
# launch/submit.sh sources it and provides refuse() and fail().

time_forms='expected MINUTES, HOURS:MINUTES:SECONDS or DAYS-HOURS:MINUTES, such as 24:00:00 or 3-12:00'

is_slurm_time() { # TEXT
  [[ $1 =~ ^([0-9]+|[0-9]+:[0-5]?[0-9]|[0-9]+:[0-5]?[0-9]:[0-5]?[0-9]|[0-9]+-[0-9]+(:[0-5]?[0-9]){0,2})$ ]]
}

seconds_of() { # SLURM-TIME
  local days=0 rest=$1 parts
  if [[ $rest == *-* ]]; then
    days=${rest%%-*}
    IFS=: read -r -a parts <<<"${rest#*-}"
    parts+=(0 0)
  else
    IFS=: read -r -a parts <<<"$rest"
    case ${#parts[@]} in
      1) parts=(0 "${parts[0]}" 0) ;;
      2) parts=(0 "${parts[@]}") ;;
    esac
  fi
  printf '%d' $((10#$days * 86400 + 10#${parts[0]} * 3600 + 10#${parts[1]} * 60 + 10#${parts[2]}))
}

# ---- the configuration --------------------------------------------------------------------------------------------------

declare -A settings=() # of the configuration with every default: align.student.training.micro_batches -> 4

read_configuration() { # CSKD-COMMAND...: with the configuration's path and --set
  local text key value
  text=$("$@" 2>&1) || fail $? "$text"
  while IFS=$'\t' read -r key value; do settings[$key]=$value; done < <(awk '
    /^\[\[/ {table = ""; next}
    /^\[/ {table = substr($0, 2, length($0) - 2) "."; next}
    table != "" && match($0, / = /) {
      value = substr($0, RSTART + 3); gsub(/^"|"$/, "", value); gsub(/\\"/, "\"", value); gsub(/\\\\/, "\\", value)
      print table substr($0, 1, RSTART - 1) "\t" value
    }' <<<"$text")
  if [[ -z ${settings[run.folder]:-} ]]; then fail 1 "cskd config names no run.folder: it belongs to another version than this script"; fi
}

read_graph() { # CSKD-COMMAND...: that prints the names of its stages
  local text
  text=$("$@" 2>&1) || fail $? "$text"
  mapfile -t graph <<<"$text"
}

greatest_common_divisor() { # A B
  local a=$1 b=$2 rest
  while ((b)); do rest=$((a % b)) a=$b b=$rest; done
  printf '%d' "$a"
}

# Sets micro_batches to what the ranks of STAGE (run, sweep: of all) must divide, 0 when it is no training; power_of_two.
read_divisors() { # STAGE
  local key
  micro_batches=0 power_of_two=false
  for key in "${!settings[@]}"; do
    if [[ $key != *.training.micro_batches || ($1 != run && $1 != sweep && $key != "$1".*) ]]; then continue; fi
    micro_batches=$(greatest_common_divisor "${settings[$key]}" "$micro_batches")
    if [[ ${settings[${key%.micro_batches}.determinism]:-} == elastic ]]; then power_of_two=true; fi
  done
}

# ---- Slurm --------------------------------------------------------------------------------------------------------------

# Sets partition_nodes, node_cpus and node_gpus (of its smallest host) and partition_limit of PARTITION.
read_partition() { # PARTITION (empty: Slurm's default), WHERE-IT-WAS-NAMED
  local lines names
  if ! lines=$(timeout 20 sinfo --noheader --format='%R|%P|%D|%c|%G|%l|%a' 2>&1); then
    fail 1 "sinfo: $lines" "is Slurm's controller up? scontrol ping"
  fi
  partition=$1
  if [[ -z $partition ]]; then
    partition=$(awk -F'|' '$2 ~ /\*$/ {print $1; exit}' <<<"$lines")
    if [[ -z $partition ]]; then refuse "Slurm has no default partition" "name one: --partition, there are: $(cut -d'|' -f1 <<<"$lines" | sort -u | paste -sd' ')"; fi
  fi
  mapfile -t names < <(cut -d'|' -f1 <<<"$lines" | sort -u)
  read -r partition_nodes node_cpus node_gpus partition_limit partition_state < <(awk -F'|' -v name="$partition" '
    $1 == name {
      nodes += $3; cpus = $4 + 0; gpus = 0; count = split($5, each, ",")
      for (i = 1; i <= count; i++) if (each[i] ~ /^gpu:/) {sub(/\(.*/, "", each[i]); sub(/.*:/, "", each[i]); gpus += each[i]}
      if (least == "" || cpus < least) least = cpus
      if (fewest == "" || gpus < fewest) fewest = gpus
      limit = $6; state = $7
    }
    END {if (least != "") print nodes, least, fewest, limit, state}' <<<"$lines") ||
    refuse "$2: Slurm has no partition '$partition'$(did_you_mean "$partition" "${names[@]}")" "there are: ${names[*]}"
  if [[ $partition_state != up ]]; then refuse "partition $partition is $partition_state" "there are: ${names[*]}"; fi
}

check_job_fits() { # NODES TIME WHO
  if (($1 > partition_nodes)); then
    refuse "$3 asks for $1 nodes, partition $partition has $partition_nodes" "--nodes, --spare or --partition"
  fi
  if [[ -n $2 && $partition_limit != infinite ]] && (($(seconds_of "$2") > $(seconds_of "$partition_limit"))); then
    refuse "--time $2 is more than partition $partition allows: $partition_limit" "the run goes on by itself when its time is over: --time $partition_limit"
  fi
}

check_launcher() {
  local list
  if [[ ${site[launcher]} == mpirun ]]; then
    if [[ -z ${site[modules]}${site[setup]}${site[container]} ]] && ! command -v mpirun >/dev/null; then
      refuse "mpirun was not found" "load its module in every job: 'modules = ...' in the site file"
    fi
    return
  fi
  list=$(timeout 20 srun --mpi=list 2>&1) || fail 1 "srun --mpi=list: $list"
  if ! grep -wF -- "${site[mpi]}" >/dev/null <<<"$list"; then
    refuse "this Slurm has no '${site[mpi]}' for MPI: srun would start each rank as a world of its own; srun --mpi=list: $(grep -v : <<<"$list" | xargs)" \
      "ask for Slurm's PMIx plugin, name another version ('mpi = pmix_v4' in the site file), or use 'launcher = mpirun' there"
  fi
}
