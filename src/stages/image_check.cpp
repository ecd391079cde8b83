#include "stages/image_check.h"

#include <algorithm>
#include <atomic>
#include <cstring>
#include <exception>
#include <limits>
#include <mutex>
#include <type_traits>

#include <fmt/format.h>

#include "data/decode.h"
#include "data/perceptual_hash.h"
#include "runtime/check.h"
#include "runtime/error.h"
#include "runtime/input_file.h"
#include "runtime/stop_signal.h"
#include "runtime/threads.h"
#include "runtime/work_counter.h"

namespace cskd::stages {
namespace {

constexpr std::uint64_t kLargestPicture = 256ULL << 20;  // encoded bytes
constexpr std::int64_t kBlock = 64;                      // entries handed out at once

// One result on its way to the other ranks; the text of the fault follows.
struct Wire {
  std::int64_t index = 0;
  runtime::ContentHash hash;
  std::uint64_t phash = 0;
  std::uint16_t width = 0;
  std::uint16_t height = 0;
  std::uint16_t fault_length = 0;
  std::uint8_t format = 0;
  std::uint8_t orientation = 0;
};
static_assert(std::is_trivially_copyable_v<Wire>);

void append(std::string& text, std::int64_t index, const CheckedImage& image) {
  const std::string fault = image.fault.substr(0, std::numeric_limits<std::uint16_t>::max());
  const Wire wire{index,        image.hash,       image.phash,
                  image.width,  image.height,     static_cast<std::uint16_t>(fault.size()),
                  image.format, image.orientation};
  text.append(reinterpret_cast<const char*>(&wire), sizeof(wire));
  text += fault;
}

void take_all(const std::string& text, std::vector<CheckedImage>& images, std::vector<char>& seen) {
  for (size_t at = 0; at < text.size();) {
    Wire wire;
    std::memcpy(&wire, text.data() + at, sizeof(wire));
    at += sizeof(wire);
    const auto index = static_cast<size_t>(wire.index);
    images.at(index) = {wire.hash,
                        wire.phash,
                        wire.width,
                        wire.height,
                        wire.format,
                        wire.orientation,
                        text.substr(at, wire.fault_length)};
    seen.at(index) = 1;
    at += wire.fault_length;
  }
}

}  // namespace

std::vector<std::byte> read_entry(const shards::Entry& entry) {
  return runtime::InputFile(entry.file).read_at(entry.offset, entry.size);
}

CheckedImage check_image(const shards::Entry& entry) {
  CheckedImage result;
  try {
    if (entry.size > kLargestPicture) {
      throw runtime::DataError(fmt::format("{} bytes, at most {} are read", entry.size, kLargestPicture));
    }
    const std::vector<std::byte> bytes = read_entry(entry);
    result.hash = runtime::content_hash(bytes);
    const data::ImageHeader header = data::read_image_header(bytes);
    const data::Image image = data::decode(bytes);
    constexpr int kLongestSide = std::numeric_limits<std::uint16_t>::max();
    if (image.width > kLongestSide || image.height > kLongestSide) {
      throw runtime::DataError(
          fmt::format("{} x {} pixels, at most {} a side", image.width, image.height, kLongestSide));
    }
    result.phash = data::perceptual_hash(image);
    result.width = static_cast<std::uint16_t>(image.width);
    result.height = static_cast<std::uint16_t>(image.height);
    result.format = static_cast<std::uint8_t>(header.format);
    result.orientation = static_cast<std::uint8_t>(header.orientation);
  } catch (const runtime::Error& error) {
    result.fault = runtime::messages(error).back();
  } catch (const std::bad_alloc&) {
    result.fault = "too large for this machine's memory";
  }
  return result;
}

std::vector<CheckedImage> check_images(const std::vector<const shards::Entry*>& entries, runtime::World& world,
                                       int threads, const std::function<void(std::int64_t, std::int64_t)>& progress) {
  const auto total = static_cast<std::int64_t>(entries.size());
  std::mutex mutex;
  std::string found;
  std::atomic<bool> stopped{false};
  {
    runtime::WorkCounter blocks(world, (total + kBlock - 1) / kBlock);
    runtime::run_on_threads(threads, [&](int thread) {
      for (std::int64_t block = blocks.next(); block * kBlock < total; block = blocks.next()) {
        if (runtime::StopSignal::received() != 0) {
          stopped = true;
          return;
        }
        const std::int64_t end = std::min(total, (block + 1) * kBlock);
        for (std::int64_t i = block * kBlock; i < end; ++i) {
          const CheckedImage image = check_image(*entries[static_cast<size_t>(i)]);
          const std::lock_guard lock(mutex);
          append(found, i, image);
        }
        if (world.rank() == 0 && thread == 0) progress(end, total);
      }
    });
  }
  if (world.any(stopped)) {
    throw runtime::Error("a signal asked to stop while pictures were checked; start again to go on",
                         runtime::ExitCode::kRequeue);
  }
  std::vector<CheckedImage> images(entries.size());
  std::vector<char> seen(entries.size(), 0);
  for (const std::string& text : world.all_gather(found)) take_all(text, images, seen);
  CSKD_CHECK(std::count(seen.begin(), seen.end(), 1) == total, "not every picture was checked");
  if (world.rank() == 0) progress(total, total);
  return images;
}

}  // namespace cskd::stages
