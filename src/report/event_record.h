// Records of TensorBoard event files: TFRecord framing (u64 length, masked CRC32C of it, payload, masked CRC32C of it)
// around tensorflow.Event messages. Times are Unix seconds; tags are UTF-8.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "report/histogram.h"

namespace cskd::report {

// The first record of every file.
std::string version_record(double wall_time);

// The run starts, or starts again, at `step`.
std::string session_start_record(double wall_time, std::int64_t step);

std::string scalar_record(double wall_time, std::int64_t step, std::string_view tag, float value);

// Summary.Value.histo, as torch.utils.tensorboard writes it; so for images.
std::string histogram_record(double wall_time, std::int64_t step, std::string_view tag, const Histogram& histogram);

// `png`: a PNG file of that size, RGB.
std::string image_record(double wall_time, std::int64_t step, std::string_view tag, int width, int height,
                         std::string_view png);

}  // namespace cskd::report
