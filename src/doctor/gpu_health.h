// The health of a host's GPUs, as NVIDIA's management library tells it.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace cskd::doctor {

struct GpuState {
  std::string name;
  std::string uuid;
  std::string bus;                       // "0000:3b:00.0"
  int temperature = 0;                   // degrees C
  int slowdown_temperature = 0;          // above it the GPU slows down; 0 where it is not told
  std::vector<std::string> throttling;   // why it runs below its clock now, but for being idle or at its power limit
  std::uint64_t uncorrected_errors = 0;  // of memory, since the driver was loaded
  std::uint64_t corrected_errors = 0;
  bool rows_pending = false;  // memory rows wait for a reset of the GPU to be replaced
  bool rows_failed = false;   // memory rows could not be replaced
  bool persistence = true;
  std::string compute_mode = "default";  // "default", "exclusive", "prohibited"
  int other_processes = 0;               // that use it
  int link_width = 0;                    // lanes of PCIe; 0 where it is not told
  int link_width_possible = 0;
  std::string xid;  // the last error of the driver about it in the kernel's log, where that may be read
};

struct GpuHealth {
  std::string driver;   // "580.82"; empty without one
  std::string problem;  // why nothing is known: "no NVIDIA driver", ...
  std::vector<GpuState> gpus;
};

// Loads libnvidia-ml.so.1 while it asks; nothing is linked with it. Never throws for a missing driver.
GpuHealth look_at_gpus();

}  // namespace cskd::doctor
