#include "models/compute_settings.h"

#include <ATen/autocast_mode.h>
#include <fmt/format.h>

namespace cskd::models {

const char* name_of(Precision precision) { return precision == Precision::kBf16 ? "bf16" : "fp32"; }

const char* name_of(MemoryFormat format) {
  return format == MemoryFormat::kChannelsLast ? "channels_last" : "contiguous";
}

std::optional<Precision> precision_named(const std::string& name) {
  for (const Precision each : {Precision::kFp32, Precision::kBf16}) {
    if (name == name_of(each)) return each;
  }
  return std::nullopt;
}

std::optional<MemoryFormat> memory_format_named(const std::string& name) {
  for (const MemoryFormat each : {MemoryFormat::kContiguous, MemoryFormat::kChannelsLast}) {
    if (name == name_of(each)) return each;
  }
  return std::nullopt;
}

std::string to_text(const ComputeSettings& settings) {
  return fmt::format("{}, {}", name_of(settings.precision), name_of(settings.memory_format));
}

AutocastGuard::AutocastGuard(Precision precision, c10::DeviceType device)
    : device_(device),
      was_enabled_(at::autocast::is_autocast_enabled(device)),
      type_before_(at::autocast::get_autocast_dtype(device)) {
  at::autocast::set_autocast_enabled(device, precision == Precision::kBf16);
  at::autocast::set_autocast_dtype(device, at::kBFloat16);
  at::autocast::increment_nesting();
}

AutocastGuard::~AutocastGuard() {
  // Cast weights are kept until the outermost guard goes; the next step has other weights.
  if (at::autocast::decrement_nesting() == 0) at::autocast::clear_cache();
  at::autocast::set_autocast_enabled(device_, was_enabled_);
  at::autocast::set_autocast_dtype(device_, type_before_);
}

}  // namespace cskd::models
