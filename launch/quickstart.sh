#!/usr/bin/env bash
# From a bare Debian 12 to cskd's main job on the embedded demo. docs/setup.md tells what is installed.
set -euo pipefail

case ${1:-} in
  '') ;;
  -h | --help)
    cat <<'END'
usage: launch/quickstart.sh

Sets cskd up (launch/setup.sh), writes the demo corpus to runs/demo/corpus, examines this machine with two processes, and
runs every stage of configs/demo.toml in them: from photos to a distilled and exported student, with a summary at the end
(runs/demo/summary.json), a report (runs/demo/report.html) and a gallery of scored photos (runs/demo/gallery.html). Run it
again at any time: what is already there is left as it is, and what was interrupted goes on.
END
    exit 0
    ;;
  *)
    printf "quickstart.sh: unknown argument '%s'; it takes none but --help\n" "$1" >&2
    exit 2
    ;;
esac

cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.."
cskd=build/release/cskd
ranks=2

step() { # SECONDS COMMAND...
  local limit=$1 status=0
  shift
  printf '\n$ %s\n' "$*"
  timeout --foreground --kill-after=10 "$limit" "$@" </dev/null || status=$?
  if ((status == 124 || status == 137)); then
    printf 'quickstart.sh: ended after %s s: %s\n' "$limit" "$*" >&2
  elif ((status)); then
    printf 'quickstart.sh: exit code %d from: %s\n' "$status" "$*" >&2
  fi
  return "$status"
}

launch/setup.sh

if [[ $(id -u) == 0 ]]; then # mpirun refuses to start as root otherwise
  export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
fi
cores=$(env -u OMP_NUM_THREADS -u OMP_THREAD_LIMIT nproc)
mpirun=(mpirun -n "$ranks")
if ((ranks > cores)); then mpirun=(mpirun --oversubscribe -n "$ranks"); fi
if ((ranks >= cores)); then # a rank that waits must not keep the core from the one it waits for
  export OMPI_MCA_mpi_yield_when_idle=1
fi

step 600 "$cskd" demo runs/demo/corpus
step 120 "${mpirun[@]}" "$cskd" doctor configs/demo.toml
step 3000 "${mpirun[@]}" "$cskd" run configs/demo.toml
step 300 "$cskd" score runs/demo/export/student runs/demo/corpus/rated --gallery runs/demo/gallery.html --output runs/demo/scores.csv
step 300 "$cskd" report configs/demo.toml

cat <<'END'

What came out of it:
  runs/demo/report.html         results, curves, costs: open it in a browser
  runs/demo/gallery.html        the rated photos, sorted by the student's scores
  runs/demo/export/student      the student as ONNX and safetensors, with a model card
To score your own photos: build/release/cskd score runs/demo/export/student ~/Pictures
END
