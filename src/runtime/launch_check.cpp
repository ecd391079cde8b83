#include "runtime/launch_check.h"

#include <cerrno>
#include <charconv>
#include <cstdlib>
#include <filesystem>
#include <system_error>

#include <fmt/format.h>
#include <unistd.h>

#include "runtime/error.h"

namespace cskd::runtime {
namespace {

std::optional<int> whole_number(const std::optional<std::string>& text) {
  if (!text) return std::nullopt;
  int value = 0;
  const auto [end, status] = std::from_chars(text->data(), text->data() + text->size(), value);
  if (status != std::errc() || end != text->data() + text->size()) return std::nullopt;
  return value;
}

}  // namespace

Environment process_environment() {
  return [](const char* name) -> std::optional<std::string> {
    const char* value = std::getenv(name);
    if (value == nullptr) return std::nullopt;
    return value;
  };
}

int launcher_rank(const Environment& environment) {
  for (const char* name : {"OMPI_COMM_WORLD_RANK", "PMIX_RANK", "SLURM_PROCID"}) {
    if (const auto rank = whole_number(environment(name))) return *rank;
  }
  return 0;
}

std::optional<double> mpirun_grace(const Environment& environment) {
  if (!environment("OMPI_COMM_WORLD_SIZE")) return std::nullopt;
  return whole_number(environment("OMPI_MCA_odls_base_sigkill_timeout")).value_or(1);  // Open MPI's default
}

std::string launcher_name(const Environment& environment) {
  if (environment("OMPI_COMM_WORLD_SIZE")) return "mpirun";
  if (environment("SLURM_STEP_ID") || environment("SLURM_NTASKS")) return "srun";
  return "none";
}

void check_before_mpi(const Environment& environment) {
  if (environment("OMPI_COMM_WORLD_SIZE") || !environment("SLURM_STEP_NUM_TASKS")) return;
  if (whole_number(environment("SLURM_STEP_NUM_TASKS")).value_or(1) <= 1) return;
  for (const char* name : {"PMIX_RANK", "PMIX_NAMESPACE", "PMI_RANK", "PMI2_RANK"}) {
    if (environment(name)) return;
  }
  const std::string host = environment("SLURMD_NODENAME").value_or("this host");
  throw UsageError(fmt::format(
      "srun started {} processes that cannot find each other (on {}): start them with 'srun --mpi=pmix cskd ...' "
      "(srun --mpi=list shows what this Slurm offers) or 'mpirun cskd ...' inside a job",
      *environment("SLURM_STEP_NUM_TASKS"), host));
}

void check_temporary_folder(const Environment& environment) {
  for (const char* name : {"TMPDIR", "TEMP", "TMP"}) {  // in Open MPI's order
    const auto folder = environment(name);
    if (!folder) continue;
    std::filesystem::path there = *folder;  // Open MPI makes the rest
    std::error_code error;
    while (!std::filesystem::exists(there, error) && there.has_relative_path()) there = there.parent_path();
    if (there.empty()) there = ".";
    if (::access((there / "").c_str(), W_OK | X_OK) == 0) return;
    error.assign(errno, std::generic_category());
    throw UsageError(fmt::format("{} is {}, where no file can be made ({}); set {} to a folder that can be written",
                                 name, *folder, error.message(), name));
  }
}

void check_launch(const Environment& environment, int mpi_size, bool may_be_alone) {
  if (const auto promised = whole_number(environment("OMPI_COMM_WORLD_SIZE"))) {
    if (*promised == mpi_size) return;
    throw UsageError(fmt::format(
        "mpirun started {} processes, but MPI reports a world of {}: mpirun belongs to another MPI than the one "
        "cskd was built with. Put the mpirun of cskd's MPI first in PATH (cskd --version names it)",
        *promised, mpi_size));
  }
  if (const auto promised = whole_number(environment("SLURM_NTASKS"))) {
    if (*promised == mpi_size) return;
    if (may_be_alone && mpi_size == 1 && !environment("SLURM_STEP_NUM_TASKS")) return;
    throw UsageError(fmt::format(
        "SLURM_NTASKS is {}, but MPI reports a world of {}. Inside a job, start with 'srun --mpi=pmix cskd ...' "
        "(srun --mpi=list shows what this Slurm offers) or 'mpirun cskd ...'; for one process use "
        "'srun -n 1 cskd ...'",
        *promised, mpi_size));
  }
}

}  // namespace cskd::runtime
