#include "doctor/rank_facts.h"

#include <algorithm>
#include <chrono>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <limits>
#include <set>

#include <fmt/format.h>
#include <sys/resource.h>
#include <unistd.h>

#include "doctor/rank_facts_json.h"
#include "doctor/versions.h"
#include "runtime/cores.h"
#include "runtime/error.h"
#include "runtime/free_space.h"

namespace cskd::doctor {
namespace {

std::string first_value(const char* file, const std::string& key) {
  std::ifstream stream(file);
  for (std::string line; std::getline(stream, line);) {
    if (!line.starts_with(key)) continue;
    const size_t start = line.find_first_not_of(": \t", key.size());
    return start == std::string::npos ? "" : line.substr(start);
  }
  return "";
}

// /proc/meminfo counts in kB.
std::uint64_t meminfo_bytes(const std::string& key) {
  return std::strtoull(first_value("/proc/meminfo", key).c_str(), nullptr, 10) * 1024;
}

// The memory limit of this process's control group (version 2, then 1); the largest number when there is none.
std::uint64_t control_group_bytes(const std::string& version2, const std::string& version1) {
  const std::filesystem::path root = "/sys/fs/cgroup";
  const std::filesystem::path group = std::filesystem::path(first_value("/proc/self/cgroup", "0::")).relative_path();
  for (const std::filesystem::path& file : {root / group / version2, root / version2, root / "memory" / version1}) {
    std::ifstream stream(file);
    std::uint64_t bytes = 0;
    if (stream >> bytes) return bytes;
  }
  return std::numeric_limits<std::uint64_t>::max();
}

// Open MPI loads its transports as libraries mca_btl_*.so and mca_mtl_*.so and unloads those it does not choose. `self`
// only carries messages of a rank to itself.
std::vector<std::string> loaded_transports() {
  std::set<std::string> names;
  std::ifstream maps("/proc/self/maps");
  for (std::string line; std::getline(maps, line);) {
    for (const std::string kind : {"/mca_btl_", "/mca_mtl_", "/mca_pml_ucx"}) {
      const size_t start = line.find(kind);
      if (start == std::string::npos) continue;
      const std::string file = line.substr(start + 5);
      const size_t underscore = file.find('_');
      names.insert(file.substr(underscore + 1, file.find('.') - underscore - 1));
    }
  }
  names.erase("self");
  return {names.begin(), names.end()};
}

std::map<std::string, std::string> relevant_environment() {
  constexpr const char* kPrefixes[] = {"CUDA_",    "HDF5_",  "MALLOC_", "NCCL_", "OMPI_MCA_", "OMP_",
                                       "PYTORCH_", "SLURM_", "TORCH_",  "UCX_",  "CSKD_"};
  constexpr const char* kNames[] = {"LD_PRELOAD", "LD_LIBRARY_PATH", "OMPI_COMM_WORLD_SIZE", "TMPDIR", "NO_COLOR"};
  // What mpirun sets for itself, and what describes the job rather than steers cskd.
  constexpr const char* kNoise[] = {"OMPI_MCA_orte_", "OMPI_MCA_ess", "OMPI_MCA_initial_wdir",
                                    "OMPI_MCA_shmem_RUNTIME"};
  std::map<std::string, std::string> found;
  for (char** entry = environ; *entry != nullptr; ++entry) {
    const std::string_view text(*entry);
    const size_t equals = text.find('=');
    if (equals == std::string_view::npos) continue;
    const std::string_view name = text.substr(0, equals);
    const auto begins = [name](const char* prefix) { return name.starts_with(prefix); };
    const bool wanted = std::any_of(std::begin(kPrefixes), std::end(kPrefixes), begins) ||
                        std::find(std::begin(kNames), std::end(kNames), name) != std::end(kNames);
    if (wanted && std::none_of(std::begin(kNoise), std::end(kNoise), begins)) {
      found.emplace(name, text.substr(equals + 1));
    }
  }
  return found;
}

}  // namespace

RankFacts collect_rank_facts(runtime::World& world) {
  RankFacts facts;
  facts.rank = world.rank();
  facts.local_rank = world.local_rank();
  facts.node = world.node();
  facts.host = world.host();
  facts.cpu = first_value("/proc/cpuinfo", "model name");
  facts.cores = runtime::usable_cores();
  facts.cores_online = static_cast<int>(::sysconf(_SC_NPROCESSORS_ONLN));

  facts.memory_total = std::min(meminfo_bytes("MemTotal"), control_group_bytes("memory.max", "memory.limit_in_bytes"));
  const std::uint64_t used_of_group = control_group_bytes("memory.current", "memory.usage_in_bytes");
  facts.memory_available = meminfo_bytes("MemAvailable");
  if (used_of_group < facts.memory_total) {
    facts.memory_available = std::min(facts.memory_available, facts.memory_total - used_of_group);
  }
  facts.shared_memory_free = runtime::free_space("/dev/shm");
  struct rlimit limit {};
  if (::getrlimit(RLIMIT_NOFILE, &limit) == 0) facts.open_files_limit = limit.rlim_cur;

  facts.program_version = program_version();
  for (const LibraryVersion& library : library_versions()) facts.libraries.emplace(library.name, library.version);
  facts.mpi_thread_level = runtime::mpi_thread_level();
  facts.mpi_transports = loaded_transports();
  facts.environment = relevant_environment();
  facts.accelerators = distributed::find_accelerators();
  facts.compute = distributed::measure_cpu_compute();

  world.barrier();
  facts.clock = std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
  return facts;
}

std::string to_json_text(const RankFacts& facts) {
  // Paths and variables may hold any byte; what is not UTF-8 is shown as U+FFFD.
  return nlohmann::json(facts).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

RankFacts rank_facts_from_json(const std::string& text) {
  try {
    return nlohmann::json::parse(text).get<RankFacts>();
  } catch (const nlohmann::json::exception&) {
    runtime::rethrow_with_context(
        "the facts of a rank are not what this version of cskd writes; all ranks must run the "
        "same program");
  }
}

}  // namespace cskd::doctor
