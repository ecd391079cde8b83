// nlohmann::json conversions of the facts; the member names are the keys of `cskd doctor --json`.
#pragma once

#include <nlohmann/json.hpp>

#include "doctor/rank_facts.h"

namespace cskd::distributed {

NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(Gpu, name, uuid, compute_capability, memory_total)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(Accelerators, cuda_build, cuda_runtime, cuda_driver, nccl, gpus, problem)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(CpuCompute, capability, threads, gflops)

}  // namespace cskd::distributed

namespace cskd::doctor {

NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(GpuState, name, uuid, bus, temperature, slowdown_temperature, throttling,
                                   uncorrected_errors, corrected_errors, rows_pending, rows_failed, persistence,
                                   compute_mode, other_processes, link_width, link_width_possible, xid)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(GpuHealth, driver, problem, gpus)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(SourceFacts, name, path, problem)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(FolderFacts, path, file_system, mounted_with, free_bytes, free_inodes, problem)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(SharedFacts, sees_rank_zero, seen_after_seconds, sees_replacement,
                                   replaced_after_seconds, seen_by_rank_zero, flock)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(DiskFacts, write_mb_per_second, read_mb_per_second, commit_milliseconds)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(LimitFacts, open_files, locked_memory, processes, core_file, stack)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(LocaleFacts, name, asked_point, decimal_point)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(FabricPort, name, state, rate, layer)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(TcpCount, sent, sent_again)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(LinkFacts, from, to, latency_microseconds, mb_per_second, is_damaged)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(NetworkFacts, interfaces, fabric, segments, links)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(ClockFacts, ahead_seconds, error_seconds)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(RankFacts, rank, local_rank, node, host, cpu, features, cores, cores_online,
                                   memory_total, memory_available, shared_memory_free, limits, locale, program_version,
                                   build, libraries, configuration, configuration_problem, settings, mpi_thread_level,
                                   mpi_transports, all_reduce_problem, environment, compute, accelerators, gpu_health,
                                   network, clock, folder, shared, disk, sources)

}  // namespace cskd::doctor
