// What one rank sees of the machine it runs on; gathered from all ranks for the checks.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "distributed/accelerators.h"
#include "distributed/cpu_compute.h"
#include "runtime/world.h"

namespace cskd::doctor {

// A source of the configuration, looked at by one rank.
struct SourceFacts {
  std::string name;
  std::string path;
  std::string problem;  // empty when the source can be read
};

struct FolderFacts {
  std::string path;         // the nearest existing ancestor of the run folder: where a run would write
  std::string file_system;  // "ext4", "nfs", "lustre", ..., or its magic number
  std::uint64_t free_bytes = 0;
  std::string problem;          // why it cannot be written, empty when it can
  bool sees_rank_zero = false;  // this rank sees the file that rank 0 made there
};

// Measured by one rank of each node, the others leave it zero.
struct DiskFacts {
  double write_mb_per_second = 0;  // sequential, fsync included
  double read_mb_per_second = 0;   // sequential, after the kernel was asked to drop its cached pages
  double commit_milliseconds = 0;  // median of: create, write 4 KiB, fsync, rename, fsync of the folder
};

struct RankFacts {
  int rank = 0;
  int local_rank = 0;
  int node = 0;
  std::string host;
  std::string cpu;
  std::vector<int> cores;          // this rank may run on
  int cores_online = 0;            // of the node
  std::uint64_t memory_total = 0;  // bytes, of the node or of this rank's control group, whichever is less
  std::uint64_t memory_available = 0;
  std::uint64_t shared_memory_free = 0;  // of /dev/shm
  std::uint64_t open_files_limit = 0;
  double clock = 0;  // seconds since 1970, taken right after a barrier
  std::string program_version;
  std::map<std::string, std::string> libraries;
  std::string mpi_thread_level;
  std::vector<std::string> mpi_transports;  // Open MPI components that moved data: "vader", "tcp", ...
  std::map<std::string, std::string> environment;
  distributed::CpuCompute compute;
  distributed::Accelerators accelerators;
  FolderFacts folder;
  DiskFacts disk;
  std::vector<SourceFacts> sources;
};

// All but folder, disk and sources. Collective: every rank must call.
RankFacts collect_rank_facts(runtime::World& world);

// The JSON object of one rank, and back. from_json throws Error when a field is missing.
std::string to_json_text(const RankFacts& facts);
RankFacts rank_facts_from_json(const std::string& text);

}  // namespace cskd::doctor
