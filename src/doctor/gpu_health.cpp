#include "doctor/gpu_health.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <cerrno>
#include <cstddef>
#include <string_view>
#include <utility>

#include <dlfcn.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

namespace cskd::doctor {
namespace {

// From NVML's public interface (NVML API Reference Guide); its header belongs to the CUDA toolkit, which the build does
// without.
using Device = void*;
using Status = int;
constexpr Status kSuccess = 0;
constexpr Status kDriverNotLoaded = 9;

struct PciInfo {
  char legacy_bus_id[16];
  unsigned domain, bus, device, device_id, subsystem_id;
  char bus_id[32];
};

constexpr std::array<std::pair<unsigned long long, const char*>, 5> kThrottling{{
    {0x08, "hardware slowdown"},
    {0x20, "too hot (software)"},
    {0x40, "too hot (hardware)"},
    {0x80, "power brake"},
    {0x10, "waits for another GPU of its group"},
}};

class Library {
 public:
  Library() : handle_(::dlopen("libnvidia-ml.so.1", RTLD_NOW | RTLD_LOCAL)) {}
  ~Library() {
    if (handle_ != nullptr) ::dlclose(handle_);
  }
  Library(const Library&) = delete;
  Library& operator=(const Library&) = delete;

  bool is_there() const { return handle_ != nullptr; }
  bool has(const char* name) const { return ::dlsym(handle_, name) != nullptr; }

  // Calls the function of that name; drivers too old for it answer as those that do not support it.
  template <typename... Arguments>
  Status call(const char* name, Arguments... arguments) const {
    constexpr Status kFunctionNotFound = 13;
    void* const symbol = ::dlsym(handle_, name);
    if (symbol == nullptr) return kFunctionNotFound;
    return reinterpret_cast<Status (*)(Arguments...)>(symbol)(arguments...);
  }

  // A number of the device; `fallback` where it is not told.
  template <typename Number, typename... Arguments>
  Number ask(const char* name, Number fallback, Device device, Arguments... arguments) const {
    Number number{};
    return call(name, device, arguments..., &number) == kSuccess ? number : fallback;
  }

  std::string text(const char* name, Device device) const {
    std::array<char, 128> text{};
    return call(name, device, text.data(), static_cast<unsigned>(text.size())) == kSuccess ? text.data() : "";
  }

 private:
  void* handle_;
};

int other_processes(const Library& library, Device device) {
  unsigned count = 0;
  // Told how many there are by its refusal to write them to no place. 7: there is not enough room.
  const Status status =
      library.call("nvmlDeviceGetComputeRunningProcesses", device, &count, static_cast<void*>(nullptr));
  return status == kSuccess || status == 7 ? static_cast<int>(count) : 0;
}

GpuState look_at(const Library& library, Device device) {
  GpuState state;
  state.name = library.text("nvmlDeviceGetName", device);
  state.uuid = library.text("nvmlDeviceGetUUID", device);
  PciInfo pci{};
  if (library.call("nvmlDeviceGetPciInfo_v3", device, &pci) == kSuccess) state.bus = pci.bus_id;
  state.temperature = static_cast<int>(library.ask("nvmlDeviceGetTemperature", 0U, device, 0));
  state.slowdown_temperature = static_cast<int>(library.ask("nvmlDeviceGetTemperatureThreshold", 0U, device, 1));
  const char* reasons = library.has("nvmlDeviceGetCurrentClocksEventReasons")
                            ? "nvmlDeviceGetCurrentClocksEventReasons"
                            : "nvmlDeviceGetCurrentClocksThrottleReasons";
  const auto bits = library.ask(reasons, 0ULL, device);
  for (const auto& [bit, meaning] : kThrottling) {
    if ((bits & bit) != 0) state.throttling.emplace_back(meaning);
  }
  // 0, 1: corrected and uncorrected errors; 0: since the driver was loaded.
  state.corrected_errors = library.ask("nvmlDeviceGetTotalEccErrors", 0ULL, device, 0, 0);
  state.uncorrected_errors = library.ask("nvmlDeviceGetTotalEccErrors", 0ULL, device, 1, 0);
  unsigned corrected = 0;
  unsigned uncorrected = 0;
  unsigned pending = 0;
  unsigned failed = 0;
  if (library.call("nvmlDeviceGetRemappedRows", device, &corrected, &uncorrected, &pending, &failed) == kSuccess) {
    state.rows_pending = pending != 0;
    state.rows_failed = failed != 0;
  }
  state.persistence = library.ask("nvmlDeviceGetPersistenceMode", 1, device) != 0;
  constexpr std::array<const char*, 4> kModes{"default", "exclusive (thread)", "prohibited", "exclusive"};
  state.compute_mode = kModes.at(static_cast<std::size_t>(library.ask("nvmlDeviceGetComputeMode", 0, device)) % 4);
  state.other_processes = other_processes(library, device);
  state.link_width = static_cast<int>(library.ask("nvmlDeviceGetCurrPcieLinkWidth", 0U, device));
  state.link_width_possible = static_cast<int>(library.ask("nvmlDeviceGetMaxPcieLinkWidth", 0U, device));
  return state;
}

// "0000:3b:00" of "00000000:3B:00.0" and of "PCI:0000:3b:00".
std::string bus_key(std::string_view text) {
  std::string key;
  for (const char c : text) key += static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  if (const auto dot = key.find('.'); dot != std::string::npos) key.resize(dot);
  const auto first = key.find(':');
  if (first != std::string::npos && first > 4) key.erase(0, first - 4);
  return key;
}

// The driver writes "NVRM: Xid (PCI:0000:3b:00): 79, ..." for each error of a GPU. Most hosts let root alone read this.
void add_kernel_messages(std::vector<GpuState>& gpus) {
  constexpr std::string_view kMark = "NVRM: Xid (PCI:";
  const int log = ::open("/dev/kmsg", O_RDONLY | O_NONBLOCK | O_CLOEXEC);
  if (log < 0) return;
  std::array<char, 8192> record{};
  // A record at each read; it ends with EAGAIN. One that was overwritten meanwhile is passed over.
  for (int left = 1'000'000; left > 0; --left) {
    const ssize_t size = ::read(log, record.data(), record.size());
    if (size < 0 && errno == EPIPE) continue;
    if (size <= 0) break;
    const std::string_view text(record.data(), static_cast<std::size_t>(size));
    const auto at = text.find(kMark);
    if (at == std::string_view::npos) continue;
    const std::string_view rest = text.substr(at + kMark.size());
    const std::string key = bus_key(rest.substr(0, rest.find(')')));
    for (GpuState& gpu : gpus) {
      if (bus_key(gpu.bus) == key) gpu.xid = std::string(rest.substr(0, rest.find('\n')).substr(key.size() + 2));
    }
  }
  ::close(log);
}

}  // namespace

GpuHealth look_at_gpus() {
  GpuHealth health;
  const Library library;
  if (!library.is_there()) {
    health.problem = "no NVIDIA driver";
    return health;
  }
  if (const Status status = library.call("nvmlInit_v2"); status != kSuccess) {
    health.problem = status == kDriverNotLoaded
                         ? "NVIDIA's driver is not loaded"
                         : fmt::format("NVIDIA's management library does not start (error {})", status);
    return health;
  }
  std::array<char, 96> version{};
  if (library.call("nvmlSystemGetDriverVersion", version.data(), static_cast<unsigned>(version.size())) == kSuccess)
    health.driver = version.data();
  unsigned count = 0;
  library.call("nvmlDeviceGetCount_v2", &count);
  for (unsigned i = 0; i < count; ++i) {
    Device device = nullptr;
    if (const Status status = library.call("nvmlDeviceGetHandleByIndex_v2", i, &device); status != kSuccess) {
      health.problem = fmt::format("GPU {} does not answer (error {}): it may have fallen off the bus", i, status);
      continue;
    }
    health.gpus.push_back(look_at(library, device));
  }
  library.call("nvmlShutdown");
  add_kernel_messages(health.gpus);
  return health;
}

}  // namespace cskd::doctor
