// nlohmann::json conversions of the facts; the member names are the keys of `cskd doctor --json`.
#pragma once

#include <nlohmann/json.hpp>

#include "doctor/rank_facts.h"

namespace cskd::distributed {

NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(Gpu, name, uuid, compute_capability, memory_total, memory_free)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(Accelerators, cuda_build, cuda_runtime, cuda_driver, nccl, gpus, problem)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(CpuCompute, capability, threads, gflops)

}  // namespace cskd::distributed

namespace cskd::doctor {

NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(SourceFacts, name, path, problem)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(FolderFacts, path, file_system, free_bytes, problem, sees_rank_zero)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(DiskFacts, write_mb_per_second, read_mb_per_second, commit_milliseconds)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(RankFacts, rank, local_rank, node, host, cpu, cores, cores_online, memory_total,
                                   memory_available, shared_memory_free, open_files_limit, clock, program_version,
                                   libraries, mpi_thread_level, mpi_transports, environment, compute, accelerators,
                                   folder, disk, sources)

}  // namespace cskd::doctor
