#!/usr/bin/env bash
# Builds the data path's tests with sanitizers and runs them.
set -euo pipefail

usage() {
  cat <<'END'
usage: tests/sanitizers.sh

Runs the tests of decoding, resizing and loading under AddressSanitizer and UndefinedBehaviorSanitizer, then those with threads under
ThreadSanitizer. Anything that one of them finds ends it with exit code 1.
END
}

case ${1:-} in
  '') ;;
  -h | --help)
    usage
    exit 0
    ;;
  *)
    printf "sanitizers.sh: unknown argument '%s'\n" "$1" >&2
    usage >&2
    exit 2
    ;;
esac

cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.."
cores=$(env -u OMP_NUM_THREADS -u OMP_THREAD_LIMIT nproc)

check() { # SANITIZER
  local build=build/sanitizers/$1 start=$SECONDS
  mkdir -p "$build"
  cmake -S tests/sanitizers -B "$build" -G Ninja -DCSKD_SANITIZER="$1" >"$build.log" 2>&1 || { cat "$build.log" >&2 && return 1; }
  cmake --build "$build" -j"$cores" >"$build.log" 2>&1 || { grep -E 'error|FAILED' "$build.log" >&2 && return 1; }
  # A report ends the program at once; its text must not drown in the logged warnings.
  if ! timeout 600 "$build/sanitized_data" --gtest_brief=1 >"$build.log" 2>&1; then
    tail -n 60 "$build.log" >&2
    printf '[failed] %s sanitizer: see %s\n' "$1" "$build.log" >&2
    return 1
  fi
  printf '[ok] %s sanitizer %s in %s s\n' "$1" "$(grep -Eo '[0-9]+ tests' "$build.log" | head -n 1)" $((SECONDS - start))
}

export ASAN_OPTIONS=detect_leaks=1 TSAN_OPTIONS=halt_on_error=1 UBSAN_OPTIONS=print_stacktrace=1
check address
check thread
