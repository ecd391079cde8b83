# shellcheck shell=bash
# What is asked of a box, and the slurm.conf that follows from it. Sourced by box.sh.

# shellcheck disable=SC2034  # box.sh waits with patience
hosts=2 cpus=1 gpus=0 node_timeout=10 patience=60 grace=30
rest=()

parse_options() { # WORDS...: what is left goes to rest
  local name
  while (($#)); do
    case $1 in
      --hosts | --cpus | --gpus | --node-timeout | --patience | --grace)
        if (($# < 2)); then wrong_usage "$1 lacks its number"; fi
        if [[ ! $2 =~ ^[0-9]{1,5}$ ]]; then wrong_usage "$1: '$2' is no number"; fi
        name=${1#--}
        printf -v "${name//-/_}" '%d' "$((10#$2))"
        shift 2
        ;;
      --)
        shift
        break
        ;;
      -*) wrong_usage "unknown option '$1'" ;;
      *) break ;;
    esac
  done
  rest=("$@")
  if ((hosts < 1 || hosts > 9)); then wrong_usage "--hosts: 1 to 9, not $hosts"; fi
  if ((cpus < 1)); then wrong_usage "--cpus: at least 1"; fi
  if ((node_timeout < 3)); then wrong_usage "--node-timeout: at least 3, since hosts are asked every third of it"; fi
}

write_slurm_conf() { # FOLDER
  local folder=$1 memory gres='' of_nodes='' number
  # None of these is used; but slurmd looks for them when it starts, and for version 2 wants systemd as well.
  printf 'CgroupPlugin=cgroup/v1\n' >"$folder/cgroup.conf"
  memory=$(awk '/^MemTotal:/ {print int($2 / 1024)}' /proc/meminfo)
  if ((gpus)); then
    gres='GresTypes=gpu\n'
    of_nodes=" Gres=gpu:$gpus"
    for ((number = 0; number < gpus; ++number)); do
      mknod -- "$folder/gpu$number" c 1 3 # Slurm wants a device; this is one like /dev/null
      printf 'Name=gpu File=/run/box/gpu%d\n' "$number" >>"$folder/gres.conf"
    done
  fi
  sed -e "s/@hosts@/$hosts/; s/@last_address@/$((10 + hosts))/; s/@cpus@/$cpus/; s/@memory@/$memory/" \
    -e "s/@gres@/$gres/; s/@gpus@/$of_nodes/; s/@node_timeout@/$node_timeout/; s/@grace@/$grace/" \
    "${BASH_SOURCE[0]%/*}/slurm.conf.in" >"$folder/slurm.conf"
}
