#!/usr/bin/env bash
# Set-up with test packages, build, lint, fuzzing, sanitizers and every test, in one command.
set -euo pipefail

usage() {
  cat <<'END'
usage: tests/run.sh [--full] [--filter REGEX]

Runs launch/setup.sh --tests, tests/lint.sh, tests/fuzz.sh, tests/sanitizers.sh and ctest. Exit 0 only when all of them succeed.
The results also go to build/test-results.xml (JUnit).

  --full          faults, fuzzers and kills for longer, all cases of tests that take turns by the day
                  (CSKD_TEST_FULL=1), and tests/lint.sh --all
  --filter REGEX  only the tests whose name matches
END
}

full=false
filter=()
while (($#)); do
  case $1 in
    --full) full=true ;;
    --filter)
      if (($# < 2)); then
        printf 'run.sh: --filter lacks its expression\n' >&2
        exit 2
      fi
      filter=(--tests-regex "$2")
      shift
      ;;
    -h | --help)
      usage
      exit 0
      ;;
    *)
      printf "run.sh: unknown argument '%s'\n" "$1" >&2
      usage >&2
      exit 2
      ;;
  esac
  shift
done

cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.."
exec </dev/null
lint=()
fuzz_seconds=15 # of each target
if $full; then
  export CSKD_TEST_FULL=1
  lint=(--all)
  fuzz_seconds=120
fi

launch/setup.sh --tests

lint_failed=false
tests/lint.sh ${lint[@]+"${lint[@]}"} || lint_failed=true

fuzz_failed=false
tests/fuzz.sh "$fuzz_seconds" || fuzz_failed=true

sanitizers_failed=false
tests/sanitizers.sh || sanitizers_failed=true

tests_failed=false
ctest --preset release --parallel "$(env -u OMP_NUM_THREADS -u OMP_THREAD_LIMIT nproc)" --timeout 600 --no-tests=error \
  --output-junit "$PWD/build/test-results.xml" ${filter[@]+"${filter[@]}"} || tests_failed=true

if $lint_failed; then printf 'run.sh: tests/lint.sh failed, see above\n' >&2; fi
if $fuzz_failed; then printf 'run.sh: tests/fuzz.sh failed, see above\n' >&2; fi
if $sanitizers_failed; then printf 'run.sh: tests/sanitizers.sh failed, see above\n' >&2; fi
if $lint_failed || $fuzz_failed || $sanitizers_failed || $tests_failed; then exit 1; fi
