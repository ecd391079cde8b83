#include "launch/thread_waiting.h"

#include <array>
#include <climits>
#include <cstdlib>
#include <cstring>

#include <alloca.h>
#include <fmt/format.h>
#include <sched.h>
#include <unistd.h>

namespace cskd::launch {
namespace {

// As in the environment: libgomp knows no other way, and reads it before main().
constexpr const char* kSpinCount = "GOMP_SPINCOUNT=10000";

// Value of a variable, nullptr when it is not set.
const char* value_of(const char* name, char* const* environment) {
  const size_t length = std::strlen(name);
  for (; *environment != nullptr; ++environment) {
    if (std::strncmp(*environment, name, length) == 0 && (*environment)[length] == '=')
      return *environment + length + 1;
  }
  return nullptr;
}

// Whether this process can use no core that Slurm did not give to its job: by default no other job gets these.
bool are_cores_ours_alone(char* const* environment) {
  const char* given = value_of("SLURM_CPUS_ON_NODE", environment);
  if (given == nullptr || value_of("SLURM_JOB_ID", environment) == nullptr) return false;
  int cores = 0;
  for (; *given >= '0' && *given <= '9' && cores < INT_MAX / 100; ++given) cores = 10 * cores + (*given - '0');
  cpu_set_t usable;
  CPU_ZERO(&usable);
  return ::sched_getaffinity(0, sizeof(usable), &usable) == 0 && CPU_COUNT(&usable) <= cores;
}

// Starts the program anew with GOMP_SPINCOUNT set where it should be. Runs before the constructors of all libraries, so
// that libgomp's sees it and those of LibTorch, a quarter of a second, run once; the C library is not set up either,
// hence nothing but system calls and the stack. Goes on as it is when the program cannot be started anew.
void set_spin_count(int /*argc*/, char** argv, char** environment) {
  for (const char* name : {"GOMP_SPINCOUNT", "OMP_WAIT_POLICY"}) {
    if (value_of(name, environment) != nullptr) return;
  }
  if (are_cores_ours_alone(environment)) return;
  std::array<char, PATH_MAX> program{};
  const ssize_t length = ::readlink("/proc/self/exe", program.data(), program.size() - 1);
  if (length <= 0) return;
  size_t count = 0;
  while (environment[count] != nullptr) ++count;
  auto* changed = static_cast<char**>(alloca((count + 2) * sizeof(char*)));
  std::memcpy(changed, environment, count * sizeof(char*));
  changed[count] = const_cast<char*>(kSpinCount);
  changed[count + 1] = nullptr;
  ::execve(program.data(), argv, changed);
}

[[gnu::section(".preinit_array"), gnu::used]] void (*const before_libraries)(int, char**, char**) = set_spin_count;

}  // namespace

std::string thread_waiting() {
  if (const char* policy = std::getenv("OMP_WAIT_POLICY"))
    return fmt::format("wait as OMP_WAIT_POLICY={} says", policy);
  if (const char* turns = std::getenv("GOMP_SPINCOUNT")) return fmt::format("spin for GOMP_SPINCOUNT={} turns", turns);
  return "spin for as long as libgomp does";
}

}  // namespace cskd::launch
