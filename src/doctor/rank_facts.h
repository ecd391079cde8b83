// The view of one rank of the machine it runs on; gathered from all ranks for the checks.
#pragma once

#include <cstdint>
#include <limits>
#include <map>
#include <string>
#include <vector>

#include "distributed/devices/accelerators.h"
#include "distributed/devices/cpu_compute.h"
#include "doctor/gpu_health.h"
#include "doctor/step_limit.h"
#include "runtime/world.h"

namespace cskd::doctor {

constexpr std::uint64_t kUnlimited = std::numeric_limits<std::uint64_t>::max();

// A source of the configuration, looked at by one rank.
struct SourceFacts {
  std::string name;
  std::string path;
  std::string problem;  // empty when the source can be read
};

// The folder of the run as a host sees it.
struct FolderFacts {
  std::string path;         // the nearest ancestor of the run folder that exists on rank 0: where a run would write
  std::string file_system;  // as it is mounted: "ext4", "nfs4", "lustre", ...
  std::string mounted_with;
  std::uint64_t free_bytes = 0;
  std::uint64_t free_inodes = kUnlimited;  // kUnlimited where they are not counted
  std::string problem;                     // why it cannot be written, empty when it can
};

// How files of the run folder pass between hosts.
struct SharedFacts {
  bool sees_rank_zero = true;     // this host sees the file that rank 0 made there
  double seen_after_seconds = 0;  // how long that took
  bool sees_replacement = true;   // and what it was replaced by, after it was read
  double replaced_after_seconds = 0;
  bool seen_by_rank_zero = true;  // rank 0 sees what this host wrote
  std::string flock = "works";    // or why locks do not: "ENOSYS", ...; "only on one host"
};

// Measured by one rank of each node, the others leave it zero.
struct DiskFacts {
  double write_mb_per_second = 0;  // sequential, fsync included
  double read_mb_per_second = 0;   // sequential, after the kernel was asked to drop its cached pages
  double commit_milliseconds = 0;  // median of: create, write 4 KiB, fsync, rename, fsync of the folder
};

// kUnlimited where there is none.
struct LimitFacts {
  std::uint64_t open_files = kUnlimited;
  std::uint64_t locked_memory = kUnlimited;  // bytes
  std::uint64_t processes = kUnlimited;      // and threads, of this user or of the control group
  std::uint64_t core_file = kUnlimited;      // bytes
  std::uint64_t stack = kUnlimited;          // bytes
};

struct LocaleFacts {
  std::string name;                 // what the environment asks of numbers: "C", "de_DE.UTF-8"
  std::string asked_point = ".";    // its decimal point
  std::string decimal_point = ".";  // the one in effect
};

// A network card that RDMA goes through, one of its ports.
struct FabricPort {
  std::string name;   // "mlx5_0/1"
  std::string state;  // "ACTIVE", "DOWN", ...
  std::string rate;   // "400 Gb/sec (4X NDR)"
  std::string layer;  // "InfiniBand", "Ethernet"
};

// Segments that TCP sent, and those of them that it sent again.
struct TcpCount {
  std::uint64_t sent = 0;
  std::uint64_t sent_again = 0;
};

// Between two hosts, by their numbers.
struct LinkFacts {
  int from = 0;
  int to = 0;
  double latency_microseconds = 0;  // one way, median
  double mb_per_second = 0;         // one way at a time, median
  bool is_damaged = false;          // what came back is not what was sent
};

struct NetworkFacts {
  std::vector<std::string> interfaces;  // that are up, without the loopback
  std::vector<FabricPort> fabric;
  TcpCount segments;             // while the links were measured
  std::vector<LinkFacts> links;  // to hosts with a higher number
};

// This host's clock against that of rank 0's host.
struct ClockFacts {
  double ahead_seconds = 0;  // of rank 0's
  double error_seconds = 0;  // it is off by at most this
};

struct RankFacts {
  int rank = 0;
  int local_rank = 0;
  int node = 0;
  std::string host;
  std::string cpu;
  std::string features;            // of the processor, those that numerical code asks for
  std::vector<int> cores;          // this rank may run on
  int cores_online = 0;            // of the node
  std::uint64_t memory_total = 0;  // bytes, of the node or of this rank's control group, whichever is less
  std::uint64_t memory_available = 0;
  std::uint64_t shared_memory_free = 0;  // of /dev/shm
  LimitFacts limits;
  LocaleFacts locale;
  std::string program_version;
  std::string build;  // of the program file
  std::map<std::string, std::string> libraries;
  std::string configuration;                    // a digest; empty without one
  std::string configuration_problem;            // why this rank could not read it
  std::map<std::string, std::string> settings;  // of the configuration, where ranks have different ones
  std::string mpi_thread_level;
  std::vector<std::string> mpi_transports;  // Open MPI components that moved data: "vader", "tcp", ...
  std::string all_reduce_problem;           // a sum that is not what it must be
  std::map<std::string, std::string> environment;
  distributed::CpuCompute compute;  // measured on all ranks at once
  distributed::Accelerators accelerators;
  // Of the first rank of each host only:
  GpuHealth gpu_health;
  NetworkFacts network;
  ClockFacts clock;
  FolderFacts folder;
  SharedFacts shared;
  DiskFacts disk;
  std::vector<SourceFacts> sources;
};

// Which program and configuration a rank runs; the first thing that ranks tell each other, in a form that stays the
// same from build to build.
struct Identity {
  std::string host;
  std::string program_version;
  std::string build;
  std::string configuration;  // RankFacts::configuration

  std::string text() const;
  static Identity parse(const std::string& text);
};

// RankFacts::build
std::string program_build();

// All that needs no other rank. Collective only in that processors are measured at once: every rank must call.
RankFacts collect_rank_facts(runtime::World& world, StepLimit& steps);

// The JSON object of one rank, and back. from_json throws Error when a field is missing.
std::string to_json_text(const RankFacts& facts);
RankFacts rank_facts_from_json(const std::string& text);

}  // namespace cskd::doctor
