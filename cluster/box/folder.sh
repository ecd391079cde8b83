# shellcheck shell=bash
# A box's folder: what is in it before the box starts, and where to find what. Sourced by box.sh.

prepare_folder() { # FOLDER HOSTS
  local folder=$1 host place from=${BASH_SOURCE[0]%/*}
  for place in /tmp /run /var/run /dev /proc /sys; do
    if [[ $folder/ == "$place"/* ]]; then
      die 2 "$folder: a box has a $place of its own, so its folder must be elsewhere" "box.sh up /var/tmp/box, for instance"
    fi
  done
  if keeper_of "$folder" >/dev/null; then die 1 "a box is already running in $folder" "box.sh down $folder"; fi
  if [[ -f $folder/keeper.pid ]]; then
    rm -rf -- "$folder" # of a box that was killed
  elif [[ -e $folder && ! -d $folder ]]; then
    die 2 "$folder is no folder"
  elif [[ -e $folder && -n $(ls -A -- "$folder") ]]; then
    die 2 "$folder holds something else than a box" "name a folder that is new or empty"
  fi
  mkdir -p -- "$folder" || die 1 "cannot make the folder $folder"
  : >"$folder/keeper.pid"
  chmod 755 -- "$folder"
  mkdir -- "$folder/log" "$folder/state" "$folder/hosts"
  printf '127.0.0.1 localhost\n10.231.0.1 login\n' >"$folder/names"
  for host in login $(seq -f 'n%g' "$2"); do
    mkdir -p -- "$folder/hosts/$host/tmp" "$folder/hosts/$host/spool"
    chmod 1777 -- "$folder/hosts/$host/tmp"
    if [[ $host != login ]]; then printf '10.231.0.%d %s\n' $((10 + ${host#n})) "$host" >>"$folder/names"; fi
  done
  cp -- "$from/inside.sh" "$from/slow_link.py" "$folder/" # the checkout may be where the box sees something else
}

folder_of() { # FOLDER: its absolute path, if it is that of a box, running or not
  local folder
  folder=$(realpath -m -- "$1")
  [[ -f $folder/keeper.pid ]] || die 2 "there is no box in $folder" "box.sh up $1"
  printf '%s' "$folder"
}

hosts_of() { # FOLDER: n1 n2 ...
  local path
  for path in "$1"/hosts/n*; do printf '%s ' "${path##*/}"; done
}

check_host() { # FOLDER HOST
  [[ " $(hosts_of "$1")" == *" $2 "* ]] || die 2 "there is no host '$2' in $1" "its hosts: $(hosts_of "$1")"
}

show_logs() { # FOLDER LINES
  local log
  for log in box munged slurmctld $(hosts_of "$1"); do
    log=$1/log/${log/#n/slurmd.n}
    if [[ -s $log ]]; then
      printf '%s:\n' "$log"
      tail -n "$2" -- "$log" | cut -c 1-300 | sed 's/^/  | /'
    fi
  done
}
