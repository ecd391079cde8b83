#!/usr/bin/env bash
# Takes a bare Debian 12 to a built cskd. docs/setup.md is the manual.
set -euo pipefail
export LC_ALL=C.UTF-8

usage() {
  cat <<'END'
usage: launch/setup.sh [--tests] [--preset NAME] [--no-packages] [--help]

Installs the Debian packages of launch/packages.txt, puts LibTorch into .venv, and builds cskd into build/<preset>.
Run it again at any time: it does only what is missing, and goes on where a killed run stopped.

  --tests         also what the tests need: tests/packages.txt, cluster/box/packages.txt, tests/requirements.txt and the test
                  programs
  --preset NAME   release (default), debug, asan or tsan
  --no-packages   leave the Debian packages alone, here and in later runs: compiler and libraries are yours to provide
  --help          this text

Environment: CSKD_PYTHON (interpreter for .venv, default /usr/bin/python3), CMAKE_BUILD_PARALLEL_LEVEL (compilations at
once, default one per core and per 2 GiB of free memory), and whatever apt, pip, CMake and ccache read themselves.

Exit: 0 done, 1 something could not be installed or built, 2 wrong usage.
END
}

root=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd -P)
venv=$root/.venv
venv_python=$venv/bin/python
left_to_you=$root/build/.setup-no-packages

with_tests=false
no_packages=false
preset=release
setup_start=${EPOCHREALTIME/[.,]/}

# shellcheck source=launch/setup_steps.sh
source "$root/launch/setup_steps.sh" "$root/build/setup.log"

# ---- questions ----------------------------------------------------------------------------------------------------------

hash_of() { cat -- "$@" | sha256sum | cut -d ' ' -f 1; } # of contents, not of names: a moved checkout has the same

is_stamped() { # FILE HASH
  [[ -f $1 && $(<"$1") == "$2" ]]
}

free_megabytes() { # FOLDER
  df -Pk -- "$1" | awk 'NR == 2 {print int($4 / 1024)}'
}

need_disk() { # FOLDER MEGABYTES WHAT
  local free
  free=$(free_megabytes "$1")
  if [[ -n $free ]] && ((free < $2)); then
    fail "too little disk: $3 needs about $2 MB in $1, where $free MB are free" \
      "free some space, or move the checkout (.venv may also be a link to a folder on a larger disk)"
  fi
}

# ---- phases -------------------------------------------------------------------------------------------------------------

lock() {
  if ! mkdir -p "$root/build" 2>/dev/null || ! { : >>"$root/build/setup.lock"; } 2>/dev/null; then
    fail "cannot write to $root/build" "run it as the owner of the checkout"
  fi
  exec 9<>"$root/build/setup.lock"
  if ! flock --nonblock 9; then
    local owner
    owner=$(<"$root/build/setup.lock")
    fail "another set-up is at work in this checkout (process $owner, or what it started)" \
      "wait until it has ended, then run this again"
  fi
  printf '%s\n' "$$" >"$root/build/setup.lock"
}

packages() { # names listed in the package files
  local files=("$root/launch/packages.txt")
  if $with_tests; then files+=("$root/tests/packages.txt" "$root/cluster/box/packages.txt"); fi
  sed -e 's/#.*//' -e 's/[[:space:]]//g' -e '/^$/d' "${files[@]}"
}

missing_packages() {
  # shellcheck disable=SC2046  # one name per line, no spaces
  comm -23 <(packages | sort -u) <(dpkg-query -W -f '${Package} ${db:Status-Abbrev}\n' $(packages) 2>/dev/null |
    awk '$2 == "ii" {print $1}' | sort -u)
}

check() {
  begin Check
  local system=unknown machine
  machine=$(uname -m)
  if [[ -r /etc/os-release ]]; then
    # shellcheck disable=SC1091
    system=$(. /etc/os-release && printf '%s %s' "${ID:-unknown}" "${VERSION_ID:-}")
  fi
  printf 'system %s, machine %s, preset %s, tests %s\n' "$system" "$machine" "$preset" "$with_tests" >>"$log"
  if [[ $machine != x86_64 ]]; then
    fail "this machine is $machine; the LibTorch build that cskd uses exists for x86_64 only"
  fi
  if ! $no_packages && { ! command -v apt-get || ! command -v dpkg-query; } >/dev/null; then
    fail "this system ($system) has no apt-get; cskd is set up by itself on Debian 12 only" \
      "Provide these by other means (modules, your own package manager), then run launch/setup.sh --no-packages:" \
      "$(sed -n 's/^\([^# ][^ ]*\) *# *\(.*\)/  \1: \2/p' "$root/launch/packages.txt" | tr '\n' ';' | sed 's/;$//; s/;/\n          /g')"
  fi
  if ! $no_packages && [[ $system != 'debian 12' ]]; then
    printf '[note] tried on Debian 12 only; this is %s, where package names may differ\n' "$system"
  fi

  if ! is_stamped "$venv/.setup-launch" "$(environment_hash "$root/launch/requirements.txt")"; then
    local have=0
    if [[ -d $venv ]]; then have=$(du -sm -- "$venv/" | cut -f 1); fi
    need_disk "$root" $((have < 6000 ? 8000 - have : 2000)) "set-up (LibTorch with CUDA in .venv, the build)"
  elif [[ ! -x $root/build/$preset/cskd ]]; then
    need_disk "$root" 2000 "the build"
  fi
  end
}

debian_packages() {
  begin 'Debian packages'
  local missing
  mapfile -t missing < <(missing_packages)
  if ((${#missing[@]} == 0)); then
    end unchanged
    return
  fi

  local line="apt-get update && apt-get install -y --no-install-recommends ${missing[*]}"
  local as_root=()
  if [[ $(id -u) != 0 ]]; then
    if ! sudo -n true 2>/dev/null; then
      fail "${#missing[@]} Debian packages are missing, and you are neither root nor allowed to use sudo without a password" \
        "Run this yourself, or hand it to your administrator, then run launch/setup.sh again:" "" "sudo sh -c '$line'" "" \
        "With the libraries from elsewhere (modules, for instance): launch/setup.sh --no-packages"
    fi
    as_root=(sudo -n)
  fi
  as_root+=(env DEBIAN_FRONTEND=noninteractive NEEDRESTART_SUSPEND=1)
  local name
  for name in http_proxy https_proxy ftp_proxy no_proxy; do
    if [[ -n ${!name:-} ]]; then as_root+=("$name=${!name}"); fi
  done
  need_disk /usr 2000 "installing Debian packages"

  # 9>&-: a service that a package starts must not keep our lock.
  if [[ -n $(dpkg --audit 2>&1) || -n $(ls -A /var/lib/dpkg/updates 2>/dev/null) ]]; then
    run "${as_root[@]}" dpkg --configure -a 9>&- || true
  fi
  local apt=(apt-get -o DPkg::Lock::Timeout=300 -o Acquire::Retries=3)
  # An index of somebody else's that cannot be read is no reason to stop: whether our packages install decides.
  run "${as_root[@]}" "${apt[@]}" update 9>&- || true
  if ! run "${as_root[@]}" "${apt[@]}" install -y --no-install-recommends "${missing[@]}" 9>&-; then
    show_log
    if phase_log_has 'No space left on device|not have enough free space'; then
      fail "the disk is full" "free about 2 GB on the disk of /usr and /var"
    elif phase_log_has 'Temporary failure resolving|Could not resolve|Could not connect|Unable to connect|Connection timed out|connection timed out|Network is unreachable|Connection failed|Cannot initiate the connection'; then
      fail "no network: apt cannot reach its package mirror" \
        "check the network; a proxy (http_proxy, or Acquire::http::Proxy in /etc/apt/apt.conf.d) or a mirror of your own" \
        "(/etc/apt/sources.list) is used when it is set up. Then run launch/setup.sh again"
    elif phase_log_has 'Could not get lock|Unable to acquire the dpkg frontend lock'; then
      fail "another program has been installing packages for 5 minutes" "wait until it has ended, then run this again"
    elif phase_log_has 'Unable to locate package|has no installation candidate'; then
      fail "apt does not know some of the packages" \
        "cskd is set up on Debian 12 with its section main: compare /etc/apt/sources.list; or the index could not be read (above)"
    fi
    fail "apt-get could not install the Debian packages" "after repairing the cause, run launch/setup.sh again. The line was:" "$line"
  fi
  end
}

is_python_311() { [[ $("$1" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null) == 3.11 ]]; }

find_python() {
  local candidate
  if [[ -n ${CSKD_PYTHON:-} ]]; then
    if is_python_311 "$CSKD_PYTHON"; then printf '%s' "$CSKD_PYTHON"; fi
    return
  fi
  for candidate in /usr/bin/python3 python3.11 python3; do
    if is_python_311 "$candidate"; then
      command -v "$candidate"
      return
    fi
  done
}

environment_hash() { # FILE...
  hash_of "$root/launch/setup.sh" "$root/launch/setup_steps.sh" "$root/launch/repair_packages.py" "$@"
}

make_venv() {
  local python
  python=$(find_python)
  if [[ -z $python ]]; then
    fail "no Python 3.11 found${CSKD_PYTHON:+ at CSKD_PYTHON=$CSKD_PYTHON}" "name one: CSKD_PYTHON=/path/to/python3.11 launch/setup.sh"
  fi
  if ! run "$python" -m venv --clear "$venv"; then
    show_log
    if phase_log_has 'No space left on device'; then fail "the disk is full" "free about 8 GB on the disk of $root"; fi
    fail "$python cannot make a virtual environment in $venv" "Debian has that in the package python3-venv"
  fi
}

# pip only looks at names and versions, so a killed pip would pass for a finished one: see repair_packages.py.
repair_venv() {
  local status=0
  if [[ ! -x $venv_python ]] || ! "$venv_python" -c 'import pip' >>"$log" 2>&1; then
    make_venv
    return
  fi
  run "$venv_python" -B "$root/launch/repair_packages.py" || status=$?
  if ((status)); then make_venv; fi
}

pip_install() { # REQUIREMENTS...
  local pip=("$venv_python" -m pip install --no-input --disable-pip-version-check --progress-bar off) file
  # Downloads stay in pip's cache, which saves them for a second try, unless that would fill the disk.
  local cache=${PIP_CACHE_DIR:-${XDG_CACHE_HOME:-${HOME:-/}/.cache}}
  while [[ ! -d $cache ]]; do cache=$(dirname -- "$cache"); done
  if (($(free_megabytes "$cache") < 12000)); then pip+=(--no-cache-dir); fi
  for file in "$@"; do pip+=(-r "$file"); done
  mkdir -p "$root/build/setup-tmp"
  if ! run env PIP_USER=0 TMPDIR="$root/build/setup-tmp" "${pip[@]}"; then
    show_log
    if phase_log_has 'No space left on device|Disk quota exceeded'; then
      fail "the disk is full (or your quota used up)" "free about 8 GB on the disk of $root, then run this again"
    elif phase_log_has 'CERTIFICATE_VERIFY_FAILED|SSLError|OSError: Could not find a suitable TLS CA'; then
      fail "pip does not trust the certificate of the Python package index" \
        "behind a proxy that opens TLS, name its certificate: PIP_CERT=/path/to/ca.crt (or pip config set global.cert)"
    elif phase_log_has 'NewConnectionError|ConnectTimeout|ReadTimeout|Temporary failure in name resolution|Name or service not known|Network is unreachable|Connection refused|ProxyError|ConnectionResetError|RemoteDisconnected'; then
      fail "no network: pip cannot reach the Python package index" \
        "check the network; a proxy (https_proxy) or a mirror of your own (PIP_INDEX_URL, pip config) is used when it is set" \
        "up. Then run launch/setup.sh again: what was downloaded whole is kept"
    elif phase_log_has 'No matching distribution found'; then
      fail "the Python package index in use lacks a version that cskd needs (above), or gave no answer" \
        "a mirror of your own must carry the versions in $*"
    fi
    fail "pip could not install the Python packages" "the cause is above; an environment beyond repair is removed by: rm -r '$venv'"
  fi
  rm -rf -- "$root/build/setup-tmp"
}

python_environment() {
  begin 'Python environment'
  local launch=$root/launch/requirements.txt tests=$root/tests/requirements.txt launch_hash tests_hash
  launch_hash=$(environment_hash "$launch")
  tests_hash=$(environment_hash "$launch" "$tests")
  if "$venv_python" -c '' 2>/dev/null && is_stamped "$venv/.setup-launch" "$launch_hash" &&
    { ! $with_tests || is_stamped "$venv/.setup-tests" "$tests_hash"; }; then
    end unchanged
    return
  fi
  unset PYTHONPATH PYTHONHOME
  rm -f -- "$venv"/.setup-*
  repair_venv
  if $with_tests; then
    pip_install "$launch" "$tests"
    printf '%s\n' "$tests_hash" >"$venv/.setup-tests"
  else
    pip_install "$launch"
  fi
  printf '%s\n' "$launch_hash" >"$venv/.setup-launch"
  end
}

check_tools() {
  local tool lacking=()
  for tool in c++ cmake ninja pkg-config mpicxx protoc; do
    if ! command -v "$tool" >/dev/null; then lacking+=("$tool"); fi
  done
  if ((${#lacking[@]})); then
    fail "not found: ${lacking[*]}" "load the modules that hold them (docs/setup.md), or run launch/setup.sh without --no-packages"
  fi
}

configure() {
  begin Configure
  local build=$root/build/$preset tests=OFF hash fresh=()
  if $no_packages; then check_tools; fi
  # Once the tests are part of a build folder they stay, so that quickstart.sh and tests/run.sh do not undo each other.
  if $with_tests || { [[ -f $build/build.ninja ]] && grep -qs '^CSKD_TESTS:.*=ON$' "$build/CMakeCache.txt"; }; then tests=ON; fi
  hash=$(printf '%s\n' "$root" "$tests" "${CC:-}" "${CXX:-}" \
    "$(hash_of "$root/CMakePresets.json" "$root/launch/setup.sh" "$venv/.setup-launch")" | sha256sum | cut -d ' ' -f 1)
  if [[ -f $build/build.ninja ]] && is_stamped "$build/.setup-configure" "$hash"; then
    end unchanged
    return
  fi
  if [[ -f $build/CMakeCache.txt ]] && ! grep -qxF "CMAKE_HOME_DIRECTORY:INTERNAL=$root" "$build/CMakeCache.txt"; then
    fresh=(--fresh) # the checkout was moved
  fi
  rm -f -- "$build/.setup-configure"
  if ! run cmake --preset "$preset" "-DCSKD_TESTS=$tests" ${fresh[@]+"${fresh[@]}"}; then
    show_log
    fail "CMake could not configure the build" "if nothing above tells why, start it afresh: rm -r '$build'"
  fi
  printf '%s\n' "$hash" >"$build/.setup-configure"
  end
}

parallel_jobs() {
  local cores megabytes limit
  cores=$(env -u OMP_NUM_THREADS -u OMP_THREAD_LIMIT nproc)
  megabytes=$(awk '/^MemAvailable:/{print int($2 / 1024)}' /proc/meminfo)
  if [[ -r /sys/fs/cgroup/memory.max ]]; then
    limit=$(</sys/fs/cgroup/memory.max)
    if [[ $limit != max ]] && ((limit / 1048576 < megabytes)); then megabytes=$((limit / 1048576)); fi
  fi
  local jobs=$((megabytes / 2048))
  ((jobs <= cores)) || jobs=$cores
  ((jobs >= 1)) || jobs=1
  printf '%d' "$jobs"
}

build() {
  begin Build
  local program=$root/build/$preset/cskd jobs target=(--target cskd)
  if $with_tests; then target=(); fi
  jobs=${CMAKE_BUILD_PARALLEL_LEVEL:-$(parallel_jobs)}
  if [[ -z ${CCACHE_DIR:-} && ! -w ${HOME:-/nonexistent} ]]; then export CCACHE_DIR=$root/build/ccache; fi
  if ! run cmake --build --preset "$preset" -j "$jobs" ${target[@]+"${target[@]}"}; then
    show_log
    if phase_log_has 'No space left on device|Disk quota exceeded'; then
      fail "the disk is full" "free about 2 GB on the disk of $root, then run this again"
    elif phase_log_has 'Killed signal terminated program|virtual memory exhausted|out of memory|Cannot allocate memory'; then
      fail "the compiler ran out of memory with $jobs compilations at once" \
        "run it with fewer: CMAKE_BUILD_PARALLEL_LEVEL=1 launch/setup.sh"
    fi
    fail "the program could not be built" "the first error is above"
  fi

  if [[ -e $root/build/$preset/.setup-started && ! $program -nt $root/build/$preset/.setup-started ]]; then
    if phase_log_has '^ninja: no work to do'; then end unchanged; else end; fi
    return
  fi
  if ! run timeout 120 "$program" --version; then
    show_log
    fail "build/$preset/cskd was built but does not start"
  fi
  touch -- "$root/build/$preset/.setup-started"
  end
}

# ---- main ---------------------------------------------------------------------------------------------------------------

wrong_usage() {
  printf 'setup.sh: %s\n          launch/setup.sh --help lists what there is\n' "$1" >&2
  exit 2
}

main() {
  while (($#)); do
    case $1 in
      --tests) with_tests=true ;;
      --no-packages) no_packages=true ;;
      --preset)
        if (($# < 2)); then wrong_usage "--preset lacks its name"; fi
        preset=$2
        shift
        ;;
      --preset=*) preset=${1#*=} ;;
      -h | --help)
        usage
        exit 0
        ;;
      *) wrong_usage "unknown argument '$1'" ;;
    esac
    shift
  done
  case $preset in
    release | debug | asan | tsan) ;;
    *) wrong_usage "unknown preset '$preset'; there are release, debug, asan and tsan" ;;
  esac

  cd -- "$root"
  lock
  trap 'stop 2' INT
  trap 'stop 15' TERM
  trap 'stop 1' HUP
  : >"$log"
  rm -rf -- "$root/build/setup-tmp"
  if [[ -e $left_to_you ]]; then no_packages=true; fi

  check
  if ! $no_packages; then debian_packages; fi
  python_environment
  configure
  build
  if $no_packages; then : >"$left_to_you"; fi
  printf 'build/%s/cskd is ready (%s)\n' "$preset" "$(seconds_since "$setup_start")"
}

main "$@"
