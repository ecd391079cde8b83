# shellcheck shell=bash
# The environment of a command in a box. Sourced by box.sh.

command_defaults=( # what the caller has set stays
  OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 # all is root in a box
  OMPI_MCA_hwloc_base_binding_policy=none                   # mpirun would bind the first rank of each host to the same core
  OMPI_MCA_mpi_yield_when_idle=1                            # the hosts share the machine's cores
)

set_command_environment() { # FOLDER
  local setting
  for setting in "${command_defaults[@]}"; do
    if [[ ! -v ${setting%%=*} ]]; then export "${setting?}"; fi
  done
  export CSKD_BOX=$1 SLURM_CONF=/run/box/slurm.conf
  unset TMPDIR TMP TEMP # they would name a folder that the hosts do not have
}

run_command() { # FOLDER ARGUMENTS...: becomes command.py
  set_command_environment "$1"
  exec /usr/bin/python3 -IB "${BASH_SOURCE[0]%/*}/command.py" "${@:2}"
}
