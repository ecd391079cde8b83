#!/usr/bin/env bash
# Becomes one rank: rank.sh COMMAND...
set -euo pipefail

# Rank 0 tells its host and process, so that the job script notices its end even where srun goes on waiting for a host that
# is gone; and cskd tells rank 0's exit code. exec, since Slurm's cgroups hand signals to the first process of a task only.
if [[ ${OMPI_COMM_WORLD_RANK:-${SLURM_PROCID:-}} == 0 ]]; then
  export CSKD_EXIT_CODE_FILE=$CSKD_RANK_0_FILE.exit
  printf '%s %d\n' "$(hostname)" "$$" >"$CSKD_RANK_0_FILE"
fi
exec "$@"
