#include "report/event_file.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cerrno>
#include <charconv>
#include <chrono>
#include <concepts>
#include <span>
#include <string_view>
#include <system_error>

#include <fmt/format.h>
#include <unistd.h>

#include "report/appended_file.h"
#include "runtime/crc32c.h"
#include "runtime/error.h"

namespace cskd::report {
namespace {

// Protobuf's wire format of tensorflow/core/util/event.proto and summary.proto, of the few fields that are written
// here.
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

// tensorflow.Event
std::string version_event(double wall_time) {
  return field(1, wall_time) + field(3, std::string_view("brain.Event:2"));
}

std::string session_start_event(double wall_time, std::int64_t step) {
  constexpr std::int64_t kStart = 1;
  const std::string session_log = field(1, kStart);
  return field(1, wall_time) + field(2, step) + field(7, session_log);
}

std::string scalar_event(double wall_time, std::int64_t step, const std::string& tag, float value) {
  const std::string plugin_data = field(1, std::string_view("scalars"));
  const std::string metadata = field(1, plugin_data);
  const std::string summary = field(1, field(1, tag) + field(2, value) + field(9, metadata));
  return field(1, wall_time) + field(2, step) + field(5, summary);
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

double now() { return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count(); }

std::string host_name() {
  std::array<char, 256> name{};
  if (::gethostname(name.data(), name.size() - 1) != 0) runtime::throw_system_error("cannot get the host name", errno);
  return name.data();
}

// TensorBoard reads the files of a folder by name, and a session start concerns those before it. So the new name sorts
// behind the others, also when starts share a second or clocks differ.
std::filesystem::path next_path(const std::filesystem::path& folder) {
  constexpr std::string_view kPrefix = "events.out.tfevents.";
  auto seconds = static_cast<std::int64_t>(now());
  int files = 0;
  std::error_code failure;  // of a missing or unusable folder; creating the file will tell
  for (std::filesystem::directory_iterator entry(folder, failure), end; !failure && entry != end;
       entry.increment(failure)) {
    const std::string name = entry->path().filename().native();
    if (!name.starts_with(kPrefix)) continue;
    ++files;
    std::int64_t earlier = 0;
    const std::string digits = name.substr(kPrefix.size(), 10);
    std::from_chars(digits.data(), digits.data() + digits.size(), earlier);
    seconds = std::max(seconds, earlier + 1);
  }
  return folder / fmt::format("{}{:010}.{}.{}.{}", kPrefix, seconds, host_name(), ::getpid(), files);
}

}  // namespace

struct EventFile::State {
  AppendedFile file;
};

EventFile::EventFile(const std::filesystem::path& folder)
    : state_(new State{AppendedFile(next_path(folder), "event_file.write")}) {
  state_->file.append(record(version_event(now())));
}

EventFile::~EventFile() = default;

void EventFile::add_session_start(std::int64_t step) { state_->file.append(record(session_start_event(now(), step))); }

void EventFile::add_scalar(const std::string& tag, double value, std::int64_t step) {
  state_->file.append(record(scalar_event(now(), step, tag, static_cast<float>(value))));
}

const std::filesystem::path& EventFile::path() const noexcept { return state_->file.path(); }

}  // namespace cskd::report
