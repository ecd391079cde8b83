#!/usr/bin/env bash
# The honest test of set-up: a bare Debian 12 in a folder, a clone of this checkout in it, and README's two commands, twice.
set -euo pipefail
export LC_ALL=C.UTF-8

usage() {
  cat <<'END'
usage: tests/setup/bare_machine.sh [--working-tree] [--folder DIR] [COMMAND...]

Makes a minimal Debian 12 with debootstrap in a new folder under DIR (default /var/tmp; 20 GB are needed), clones this
checkout into it at a path with a space, and runs there each COMMAND (default: launch/quickstart.sh and tests/run.sh), all
of them twice. Prints how long each took and removes the folder. Needs root, debootstrap and git. Package mirror, proxy,
certificates and Python index are those that this machine is configured for.

  --working-tree  the files as they are now instead of the last commit

Exit: 0 when every command succeeded both times.
END
}

say() { printf '%s\n' "$@"; }
die() {
  printf 'bare_machine.sh: %s\n' "$1" >&2
  exit "${2:-1}"
}

# Namespaces of our own: every mount and every process in them is gone when this script is, however it ends.
if [[ ${BARE_MACHINE_INSIDE:-} != 1 ]]; then
  case " $* " in *' --help '* | *' -h '*)
    usage
    exit 0
    ;;
  esac
  [[ $(id -u) == 0 ]] || die 'needs root (chroot, mounts)'
  for tool in debootstrap git unshare; do
    command -v "$tool" >/dev/null || die "$tool is missing: apt-get install debootstrap git util-linux"
  done
  export BARE_MACHINE_INSIDE=1
  folder=/var/tmp
  arguments=("$@")
  for ((i = 0; i < $#; i++)); do
    if [[ ${arguments[i]} == --folder ]]; then folder=${arguments[i + 1]:?--folder lacks its name}; fi
  done
  BARE_MACHINE_FOLDER=$(mktemp -d "$folder/bare-machine.XXXXXX")
  export BARE_MACHINE_FOLDER
  # shellcheck disable=SC2317  # called by the trap
  remove() { rm -rf --one-file-system -- "$BARE_MACHINE_FOLDER"; }
  trap remove EXIT
  trap 'exit 130' INT
  trap 'exit 143' TERM
  trap 'exit 129' HUP
  setpriv --pdeathsig KILL unshare --mount --pid --propagation private --fork --kill-child=KILL "${BASH_SOURCE[0]}" "$@" &
  status=0
  child=$!
  trap 'kill -KILL "$child" 2>/dev/null || true; wait "$child" 2>/dev/null || true; remove' EXIT
  wait "$child" || status=$?
  exit "$status"
fi

working_tree=false
commands=()
while (($#)); do
  case $1 in
    --working-tree) working_tree=true ;;
    --folder) shift ;;
    -*) die "unknown option '$1'" 2 ;;
    *) commands+=("$1") ;;
  esac
  shift
done
if ((${#commands[@]} == 0)); then commands=(launch/quickstart.sh tests/run.sh); fi

root=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/../.." && pwd -P)
checkout='/root/a bare machine/cskd'
system=$BARE_MACHINE_FOLDER/system
log=$BARE_MACHINE_FOLDER/debootstrap.log
free=$(df -Pk -- "$BARE_MACHINE_FOLDER" | awk 'NR == 2 {print int($4 / 1048576)}')
((free >= 20)) || die "20 GB are needed in $BARE_MACHINE_FOLDER, $free are free"

# ---- the system -----------------------------------------------------------------------------------------------------------

SECONDS=0
# shellcheck disable=SC2016  # apt's own placeholders
sources=$(apt-get indextargets --format 'deb $(REPO_URI) $(RELEASE) $(COMPONENT)' \
  'Created-By: Packages' 'Origin: Debian' | sort -u)
mirror=$(awk '$3 == "bookworm" {print $2; exit}' <<<"$sources")
[[ -n $mirror ]] || die 'this machine has no Debian 12 (bookworm) package source; run apt-get update, compare /etc/apt'
debootstrap --variant=minbase --include=ca-certificates bookworm "$system" "$mirror" >"$log" 2>&1 || {
  tail -n 20 "$log" >&2
  die 'debootstrap failed'
}

# How this machine reaches its mirrors: name service, package sources, proxies, certificates.
cp -L /etc/resolv.conf "$system/etc/resolv.conf"
if [[ -f /etc/hosts ]]; then cp -L /etc/hosts "$system/etc/hosts"; fi
printf '%s\n' "$sources" >"$system/etc/apt/sources.list"
apt-config dump Acquire | grep -vE '::(IndexTargets|Changelogs|CompressionTypes)' >"$system/etc/apt/apt.conf.d/90host" || true
mkdir -p "$system/usr/local/share/ca-certificates"
cp -rL /usr/local/share/ca-certificates/. "$system/usr/local/share/ca-certificates/" 2>/dev/null || true
cp -L /etc/ssl/certs/ca-certificates.crt "$system/etc/ssl/certs/ca-certificates.crt"
for file in /etc/pip.conf "${XDG_CONFIG_HOME:-$HOME/.config}/pip/pip.conf"; do
  if [[ -f $file ]]; then cp -L "$file" "$system/etc/pip.conf"; fi
done
environment=(HOME=/root PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin TERM=dumb)
while IFS='=' read -r name value; do
  case $name in
    PIP_FIND_LINKS) if [[ -d $value ]]; then environment+=("$name=$value"); fi ;;
    PIP_* | SSL_CERT_FILE | SSL_CERT_DIR | REQUESTS_CA_BUNDLE | [hH][tT][tT][pP]_* | [hH][tT][tT][pP][sS]_* | [nN][oO]_* | CI)
      environment+=("$name=$value")
      ;;
  esac
done < <(env)

mount --bind "$system" "$system" # a root that is no mount point cannot have mount namespaces, which cluster/box needs
mount -t proc proc "$system/proc"
mount --rbind /sys "$system/sys"
mount --rbind /dev "$system/dev"
inside() { env -i "${environment[@]}" chroot "$system" "$@" </dev/null; }

for tool in c++ cmake git python3 mpirun; do
  if inside /bin/sh -c "command -v $tool" >/dev/null; then die "not bare: $tool is already in the new system"; fi
done
say "Debian $(<"$system/etc/debian_version"), bare, $(du -sxm "$system" | cut -f 1) MB, in $SECONDS s"

mkdir -p "$system$checkout"
if $working_tree; then
  git -C "$root" ls-files -z --cached --others --exclude-standard | (cd -- "$root" && tar --null --verbatim-files-from \
    --ignore-failed-read -T - -cf - 2>/dev/null) | tar -C "$system$checkout" --no-same-owner -xf -
  say "checkout: the working tree of $root"
else
  git clone --quiet --no-local -- "$root" "$system$checkout"
  say "checkout: commit $(git -C "$root" rev-parse --short HEAD)"
fi

# ---- the commands ---------------------------------------------------------------------------------------------------------

summary=()
failed=false
for round in first second; do
  for command in "${commands[@]}"; do
    say '' "==== $round $command"
    SECONDS=0
    status=0
    inside /bin/bash -c "cd -- '$checkout' && $command" || status=$?
    summary+=("$(printf '%-7s %-28s %5d s   exit %d' "$round" "$command" "$SECONDS" "$status")")
    if ((status)); then failed=true; fi
  done
done
say '' '==== times' "${summary[@]}"
say "disk    checkout $(du -sxm "$system$checkout" | cut -f 1) MB, system and caches $(du -sxm --exclude="$system$checkout" "$system" | cut -f 1) MB"
if $failed; then exit 1; fi
