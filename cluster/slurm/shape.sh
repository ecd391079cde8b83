# shellcheck shell=bash
# How many ranks a number of hosts makes. launch/submit.sh and cluster/slurm/job.sh source it.

# Prints "HOSTS RANKS-PER-HOST": as many ranks as divide the micro-batches, on as few hosts as hold them.
shape_of() { # HOSTS RANKS-PER-HOST MICRO-BATCHES (0: any number) POWER-OF-TWO (true or false)
  local hosts ranks total best=0 shape='0 0'
  for ((hosts = 1; hosts <= $1; hosts++)); do
    for ((ranks = $2; ranks >= 1; ranks--)); do
      total=$((hosts * ranks))
      if ((total <= best || ($3 && $3 % total))); then continue; fi
      if $4 && ((total & (total - 1))); then continue; fi
      best=$total shape="$hosts $ranks"
    done
  done
  printf '%s\n' "$shape"
}
