#!/usr/bin/env bash
# Builds the data path's and the engine's tests with sanitizers and runs them.
set -euo pipefail

usage() {
  cat <<'END'
usage: tests/sanitizers.sh

Runs the tests of decoding, resizing and loading under AddressSanitizer and UndefinedBehaviorSanitizer, then under
ThreadSanitizer one day those of the data path with threads, the other day those of logs, communicators, reducer, journal
and watch on 1, 2 and 4 ranks (CSKD_TEST_DAY chooses the day, a number). With CSKD_TEST_FULL set, all of them, and
checkpoints. Anything that one of them finds ends it with exit code 1.
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

failed() { # LOG WHAT
  tail -n 60 "$1" >&2
  printf '[failed] %s: see %s\n' "$2" "$1" >&2
  return 1
}

build() { # FOLDER TARGET...
  cmake --build "$1" -j"$cores" --target "${@:2}" >"$1.log" 2>&1 || { grep -E 'error|FAILED' "$1.log" >&2 && return 1; }
}

check_data() { # SANITIZER
  local build=build/sanitizers/$1 start=$SECONDS
  mkdir -p "$build"
  cmake -S tests/sanitizers -B "$build" -G Ninja -DCSKD_SANITIZER="$1" >"$build.log" 2>&1 || { cat "$build.log" >&2 && return 1; }
  build "$build" sanitized_data
  # A report ends the program at once; its text must not drown in the logged warnings.
  timeout 600 "$build/sanitized_data" --gtest_brief=1 >"$build.log" 2>&1 || failed "$build.log" "$1 sanitizer, data path"
  printf '[ok] %s sanitizer, data path: %s in %s s\n' "$1" "$(grep -Eo '[0-9]+ tests' "$build.log" | head -n 1)" $((SECONDS - start))
}

# LibTorch and Open MPI are not instrumented: what they do among themselves is left out.
check_engine() {
  local build=build/tsan start=$SECONDS test
  mkdir -p "$build"
  cmake --preset tsan >"$build.log" 2>&1 || { cat "$build.log" >&2 && return 1; }
  build "$build" test_distributed test_communicator test_watch test_report test_work_queue test_failure_detector
  export TSAN_OPTIONS=$TSAN_OPTIONS:ignore_noninstrumented_modules=1
  timeout 60 "$build/test_distributed" --gtest_brief=1 >"$build.log" 2>&1 || failed "$build.log" 'thread sanitizer, engine'
  timeout 120 "$build/test_report" --gtest_brief=1 >"$build.log" 2>&1 || failed "$build.log" 'thread sanitizer, logs and status'
  timeout 300 "$build/test_communicator" --gtest_brief=1 --gtest_filter='*mpi*' >"$build.log" 2>&1 ||
    failed "$build.log" 'thread sanitizer, engine on 1, 2 and 4 ranks'
  for test in watch work_queue failure_detector; do
    timeout 120 "$build/test_$test" --gtest_brief=1 --gtest_filter='*/2' >"$build.log" 2>&1 ||
      failed "$build.log" "thread sanitizer, $test on 2 ranks"
  done
  printf '[ok] thread sanitizer, logs, status, and engine on 1, 2 and 4 ranks in %s s\n' $((SECONDS - start))
}

check_checkpoints() {
  local build=build/tsan start=$SECONDS
  build "$build" test_training
  timeout 120 "$build/test_training" --gtest_brief=1 --gtest_filter='CheckpointWriter.*' >"$build.log" 2>&1 ||
    failed "$build.log" 'thread sanitizer, checkpoints'
  printf '[ok] thread sanitizer, checkpoints in %s s\n' $((SECONDS - start))
}

export ASAN_OPTIONS=detect_leaks=1 TSAN_OPTIONS=halt_on_error=1 UBSAN_OPTIONS=print_stacktrace=1
check_data address
if [[ ${CSKD_TEST_FULL:-} ]]; then
  check_data thread
  check_engine
  check_checkpoints
elif ((${CSKD_TEST_DAY:-$(date +%s) / 86400} % 2 == 0)); then
  check_data thread
else
  check_engine
fi
