#include "doctor/rank_facts.h"

#include <algorithm>
#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <set>
#include <sstream>
#include <string_view>

#include <elf.h>
#include <fmt/format.h>
#include <link.h>
#include <unistd.h>

#include "doctor/host_probe.h"
#include "doctor/rank_facts_json.h"
#include "doctor/versions.h"
#include "runtime/cores.h"
#include "runtime/error.h"
#include "runtime/free_space.h"
#include "runtime/input_file.h"

namespace cskd::doctor {
namespace {

// /proc/meminfo counts in kB.
std::uint64_t meminfo_bytes(std::string_view key) {
  return std::strtoull(value_in("/proc/meminfo", key).c_str(), nullptr, 10) * 1024;
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
  constexpr const char* kPrefixes[] = {"CUDA_", "HDF5_",     "MALLOC_",  "NCCL_",  "OMPI_MCA_", "OMP_", "GOMP_", "KMP_",
                                       "MKL_",  "OPENBLAS_", "PYTORCH_", "SLURM_", "TORCH_",    "UCX_", "CSKD_", "LC_"};
  constexpr const char* kNames[] = {"LANG",   "LD_PRELOAD", "LD_LIBRARY_PATH", "OMPI_COMM_WORLD_SIZE",
                                    "TMPDIR", "NO_COLOR"};
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

// What asks the GPUs' driver must be done before this job uses them.
void collect_of_host(RankFacts& facts) {
  facts.gpu_health = look_at_gpus();
  facts.network = look_at_network();
}

void collect_of_rank(RankFacts& facts) {
  facts.cpu = value_in("/proc/cpuinfo", "model name");
  facts.features = processor_features();
  facts.cores = runtime::usable_cores();
  facts.cores_online = static_cast<int>(::sysconf(_SC_NPROCESSORS_ONLN));

  facts.memory_total =
      std::min(meminfo_bytes("MemTotal"), control_group_number("memory.max", "memory/memory.limit_in_bytes"));
  const std::uint64_t used_of_group = control_group_number("memory.current", "memory/memory.usage_in_bytes");
  facts.memory_available = meminfo_bytes("MemAvailable");
  if (used_of_group < facts.memory_total) {
    facts.memory_available = std::min(facts.memory_available, facts.memory_total - used_of_group);
  }
  facts.shared_memory_free = runtime::free_space("/dev/shm");
  facts.limits = limits_of_this_process();
  facts.locale = locale_of_this_process();

  facts.program_version = program_version();
  facts.build = program_build();
  for (const LibraryVersion& library : library_versions()) facts.libraries.emplace(library.name, library.version);
  facts.mpi_thread_level = runtime::mpi_thread_level();
  facts.mpi_transports = loaded_transports();
  facts.environment = relevant_environment();
  facts.accelerators = distributed::find_accelerators();
}

}  // namespace

std::string program_build() {
  std::string build;
  const auto take = [](struct dl_phdr_info* object, std::size_t, void* target) -> int {
    for (int i = 0; i < object->dlpi_phnum; ++i) {
      const auto& header = object->dlpi_phdr[i];
      if (header.p_type != PT_NOTE) continue;
      const auto* at =
          reinterpret_cast<const char*>(object->dlpi_addr + header.p_vaddr);  // NOLINT(performance-no-int-to-ptr)
      const char* const end = at + header.p_memsz;
      while (at + sizeof(ElfW(Nhdr)) <= end) {
        ElfW(Nhdr) note{};
        std::memcpy(&note, at, sizeof(note));
        const char* const name = at + sizeof(note);
        const char* const contents = name + std::size_t{4} * ((note.n_namesz + 3U) / 4U);
        if (note.n_type == NT_GNU_BUILD_ID && note.n_namesz == 4 && std::memcmp(name, "GNU", 4) == 0) {
          for (std::size_t k = 0; k < note.n_descsz; ++k)
            *static_cast<std::string*>(target) += fmt::format("{:02x}", static_cast<unsigned char>(contents[k]));
          return 1;
        }
        at = contents + std::size_t{4} * ((note.n_descsz + 3U) / 4U);
      }
    }
    return 1;  // the first object is the program
  };
  ::dl_iterate_phdr(take, &build);
  if (!build.empty()) return build;
  // Linked without an identifier.
  return runtime::content_hash(runtime::InputFile("/proc/self/exe")).hex();
}

std::string Identity::text() const {
  return fmt::format("{}\n{}\n{}\n{}", host, program_version, build, configuration);
}

Identity Identity::parse(const std::string& text) {
  Identity identity;
  std::istringstream lines(text);
  for (std::string* field : {&identity.host, &identity.program_version, &identity.build, &identity.configuration})
    std::getline(lines, *field);
  return identity;
}

RankFacts collect_rank_facts(runtime::World& world, StepLimit& steps) {
  RankFacts facts;
  facts.rank = world.rank();
  facts.local_rank = world.local_rank();
  facts.node = world.node();
  facts.host = world.host();
  if (world.local_rank() == 0) steps.run("looking at its GPUs and networks", [&] { collect_of_host(facts); });
  world.barrier();
  steps.run("looking at the machine", [&] { collect_of_rank(facts); });
  world.barrier();
  steps.run("measuring its processor", [&] { facts.compute = distributed::measure_cpu_compute(); });
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
