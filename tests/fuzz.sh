#!/usr/bin/env bash
# Builds the fuzz targets with clang and runs each for a while from its corpus of sound and damaged files.
set -euo pipefail

usage() {
  cat <<'END'
usage: tests/fuzz.sh [SECONDS]

Runs every fuzz target of tests/fuzz for SECONDS (default 15), as many at a time as there are cores. A crash, a leak, a failed check or an
input that takes more than 10 s ends it with exit code 1 and leaves the input in build/fuzz/findings.
END
}

case ${1:-} in
  -h | --help)
    usage
    exit 0
    ;;
  *[!0-9]*)
    printf "fuzz.sh: '%s' is not a number of seconds\n" "$1" >&2
    exit 2
    ;;
esac
seconds=${1:-15}

cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.."
build=build/fuzz
cores=$(env -u OMP_NUM_THREADS -u OMP_THREAD_LIMIT nproc)
cmake -S tests/fuzz -B "$build" -G Ninja -DCMAKE_C_COMPILER=clang-14 -DCMAKE_CXX_COMPILER=clang++-14 >"$build.log" 2>&1 ||
  { cat "$build.log" >&2 && exit 1; }
cmake --build "$build" -j"$cores" >"$build.log" 2>&1 || { grep -E 'error|FAILED' "$build.log" >&2 && exit 1; }

mkdir -p "$build/findings"
python3 -B tests/fuzz/seeds.py "$build/seeds"
scratch=$(mktemp -d "${TMPDIR:-/dev/shm}/cskd-fuzz.XXXXXX")
trap 'rm -rf "$scratch"' EXIT

fuzz() { # TARGET
  mkdir -p "$build/corpus/$1"
  if CSKD_FUZZ_FOLDER=$scratch timeout $((seconds + 60)) "$build/fuzz_$1" -max_total_time="$seconds" -max_len=16384 -timeout=10 \
    -rss_limit_mb=2048 -print_final_stats=1 -artifact_prefix="$build/findings/$1-" "$build/corpus/$1" "$build/seeds/$1" \
    >"$build/$1.log" 2>&1; then
    printf '[ok] fuzz %-12s %8s inputs in %s s\n' "$1" "$(sed -n 's/^stat::number_of_executed_units: *//p' "$build/$1.log")" "$seconds"
  else
    tail -n 40 "$build/$1.log" >&2
    printf '[failed] fuzz %s: see %s\n' "$1" "$build/$1.log" >&2
    return 1
  fi
}
export -f fuzz
export build seconds scratch
printf '%s\n' tar labels manifest shard_index weights plugin | xargs -P "$cores" -I{} bash -c 'fuzz {}'
