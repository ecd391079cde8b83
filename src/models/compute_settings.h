// The settings of a model's computations: the numbers that its products are made with, and how its tensors lie in
// memory.
#pragma once

#include <optional>
#include <string>

#include <c10/core/Device.h>
#include <c10/core/ScalarType.h>

namespace cskd::models {

enum class Precision {
  kFp32,
  kBf16  // convolutions, matrix products and attention; weights, sums, norms and losses stay float32
};

enum class MemoryFormat {
  kContiguous,    // N, C, H, W
  kChannelsLast,  // N, H, W, C
};

struct ComputeSettings {
  Precision precision = Precision::kFp32;
  MemoryFormat memory_format = MemoryFormat::kChannelsLast;

  bool operator==(const ComputeSettings&) const = default;
};

// As in a configuration: "fp32", "bf16"; "contiguous", "channels_last".
const char* name_of(Precision precision);
const char* name_of(MemoryFormat format);
// nullopt: another name.
std::optional<Precision> precision_named(const std::string& name);
std::optional<MemoryFormat> memory_format_named(const std::string& name);
// "bf16, channels_last"
std::string to_text(const ComputeSettings& settings);

// While it lives, this thread's operations on `device` go by LibTorch's autocast rules for bfloat16, or, with kFp32, by
// none. Casts of weights are part of the graph, so that gradients have the weights' own type.
class AutocastGuard {
 public:
  AutocastGuard(Precision precision, c10::DeviceType device);
  ~AutocastGuard();
  AutocastGuard(const AutocastGuard&) = delete;
  AutocastGuard& operator=(const AutocastGuard&) = delete;

 private:
  const c10::DeviceType device_;
  const bool was_enabled_;
  const c10::ScalarType type_before_;
};

}  // namespace cskd::models
