# shellcheck shell=bash
# Environment of all ranks on a cluster: Open MPI, NCCL, HDF5 and limits, each with its reason. Jobs source it; so may you,
# before srun or mpirun. CSKD_NETWORK is the interface of MPI, CSKD_INFINIBAND the adapters of NCCL: both may be empty.
#
# Not here, on purpose: what cskd sets itself (threads, OMPI_MCA_mpi_yield_when_idle under srun); TORCH_NCCL_*, which belong
# to PyTorch's process groups (cskd calls NCCL directly and has time-outs of its own); NCCL's tuning (NCCL_ALGO, NCCL_PROTO,
# NCCL_IB_TIMEOUT, ...), which its manual wants to be left alone unless a fault was found; Open MPI's
# OMPI_MCA_odls_base_sigkill_timeout, for which mpirun would sleep at every end with exit code 75.

# Numbers in logs and files have a point, and names of files are UTF-8, whatever the login shell was set to.
export LC_ALL=C.UTF-8

# One writer per file, so that HDF5's own locks protect nothing; on file systems without locks they fail.
export HDF5_USE_FILE_LOCKING=FALSE

# Errors of NCCL with their cause; INFO would write some hundred lines for each rank.
export NCCL_DEBUG=${NCCL_DEBUG:-WARN}

# Open MPI's old InfiniBand transport only warns that UCX has replaced it.
export OMPI_MCA_btl=${OMPI_MCA_btl:-^openib}

if [[ -n ${CSKD_NETWORK:-} ]]; then
  # Hosts also have interfaces that others cannot reach (containers, management): both libraries may choose one of those and
  # wait for ever. '=' is the exact name for NCCL, which otherwise takes it for a prefix.
  export NCCL_SOCKET_IFNAME="=$CSKD_NETWORK"
  export OMPI_MCA_btl_tcp_if_include=$CSKD_NETWORK
  export OMPI_MCA_oob_tcp_if_include=$CSKD_NETWORK # what mpirun itself talks over
fi

if [[ -n ${CSKD_INFINIBAND:-} ]]; then
  # Hosts may also have adapters of a storage network.
  export NCCL_IB_HCA=$CSKD_INFINIBAND
fi

# A rank may hold a connection to each other one, and open shards: more than the usual 1,024 files.
ulimit -S -n "$(ulimit -H -n)" 2>/dev/null || true

# Ranks that fail together would write a core of many GB each.
ulimit -S -c 0
