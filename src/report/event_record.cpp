#include "report/event_record.h"

#include <bit>
#include <concepts>
#include <span>
#include <vector>

#include "runtime/crc32c.h"

namespace cskd::report {
namespace {

// Protobuf's wire format of event.proto, summary.proto and histogram.proto (tensorflow/core), of the few fields that
// are written here.
enum class WireType : unsigned { kVarint = 0, kFixed64 = 1, kBytes = 2, kFixed32 = 5 };

template <std::unsigned_integral Number>
std::string little_endian(Number number) {
  std::string bytes;
  for (size_t i = 0; i < sizeof(Number); ++i) bytes += static_cast<char>(number >> (8 * i) & 0xFF);
  return bytes;
}

std::string varint(std::uint64_t number) {
  std::string bytes;
  for (; number > 0x7F; number >>= 7) bytes += static_cast<char>((number & 0x7F) | 0x80);
  return bytes += static_cast<char>(number);
}

std::string field(unsigned number, WireType type, std::string_view encoded) {
  return varint(number << 3 | static_cast<unsigned>(type)).append(encoded);
}

std::string field(unsigned number, std::string_view bytes_or_message) {
  return field(number, WireType::kBytes, varint(bytes_or_message.size()).append(bytes_or_message));
}

std::string field(unsigned number, std::int64_t value) {
  return field(number, WireType::kVarint, varint(static_cast<std::uint64_t>(value)));
}

std::string field(unsigned number, double value) {
  return field(number, WireType::kFixed64, little_endian(std::bit_cast<std::uint64_t>(value)));
}

std::string field(unsigned number, float value) {
  return field(number, WireType::kFixed32, little_endian(std::bit_cast<std::uint32_t>(value)));
}

std::string field(unsigned number, const std::vector<double>& packed) {
  std::string bytes;
  for (const double value : packed) bytes += little_endian(std::bit_cast<std::uint64_t>(value));
  return field(number, std::string_view(bytes));
}

// Masked, so that a checksum over data that contains checksums stays a good one (tensorflow/core/lib/hash/crc32c.h).
std::string masked_checksum(std::string_view bytes) {
  const std::uint32_t crc = runtime::crc32c(std::as_bytes(std::span(bytes)));
  return little_endian(std::rotr(crc, 15) + 0xA282EAD8U);
}

std::string record(const std::string& payload) {
  const std::string length = little_endian(static_cast<std::uint64_t>(payload.size()));
  return length + masked_checksum(length) + payload + masked_checksum(payload);
}

// `value`: Summary.Value
std::string summary_record(double wall_time, std::int64_t step, const std::string& value) {
  return record(field(1, wall_time) + field(2, step) + field(5, field(1, value)));
}

}  // namespace

std::string version_record(double wall_time) {
  return record(field(1, wall_time) + field(3, std::string_view("brain.Event:2")));
}

std::string session_start_record(double wall_time, std::int64_t step) {
  constexpr std::int64_t kStart = 1;
  const std::string session_log = field(1, kStart);
  return record(field(1, wall_time) + field(2, step) + field(7, session_log));
}

std::string scalar_record(double wall_time, std::int64_t step, std::string_view tag, float value) {
  const std::string plugin_data = field(1, std::string_view("scalars"));
  const std::string metadata = field(1, plugin_data);
  return summary_record(wall_time, step, field(1, tag) + field(2, value) + field(9, metadata));
}

std::string histogram_record(double wall_time, std::int64_t step, std::string_view tag, const Histogram& histogram) {
  const std::string message = field(1, histogram.min) + field(2, histogram.max) + field(3, histogram.count) +
                              field(4, histogram.sum) + field(5, histogram.sum_squares) +
                              field(6, histogram.bucket_limits) + field(7, histogram.bucket_counts);
  return summary_record(wall_time, step, field(1, tag) + field(5, message));
}

std::string image_record(double wall_time, std::int64_t step, std::string_view tag, int width, int height,
                         std::string_view png) {
  constexpr std::int64_t kRgb = 3;
  const std::string message =
      field(1, std::int64_t{height}) + field(2, std::int64_t{width}) + field(3, kRgb) + field(4, png);
  return summary_record(wall_time, step, field(1, tag) + field(4, message));
}

}  // namespace cskd::report
