#include "runtime/sealed_file.h"

#include <bit>
#include <cstring>

#include <fmt/format.h>

#include "runtime/atomic_file.h"
#include "runtime/check.h"
#include "runtime/content_hash.h"
#include "runtime/error.h"
#include "runtime/input_file.h"
#include "runtime/shared_files.h"

namespace cskd::runtime {
namespace {

static_assert(std::endian::native == std::endian::little, "files are little-endian");

constexpr std::uint64_t kLargestSealed = 4ULL << 30;

}  // namespace

FileFacts write_sealed_file(const std::filesystem::path& path, std::string_view magic, std::uint32_t version,
                            std::string_view payload) {
  CSKD_CHECK(magic.size() == 8, "magic '{}'", magic);
  std::string header(kSealedHeader, '\0');
  const std::uint64_t length = payload.size();
  const ContentHash hash = content_hash(payload);
  std::memcpy(header.data(), magic.data(), 8);
  std::memcpy(header.data() + 8, &version, 4);
  std::memcpy(header.data() + 16, &length, 8);
  std::memcpy(header.data() + 24, hash.bytes.data(), 16);
  AtomicFile file(path);
  file.write(header);
  file.write(payload);
  return file.commit();
}

std::string read_sealed_file(const std::filesystem::path& path, std::string_view magic, std::uint32_t version) {
  wait_until_there(path);
  std::string text = read_text_file(path, kLargestSealed);
  if (text.size() < kSealedHeader || std::string_view(text).substr(0, 8) != magic) {
    throw DataError(
        fmt::format("{} does not start with '{}': it is another kind of file, or cut off", path.native(), magic));
  }
  std::uint32_t found_version = 0;
  std::uint64_t length = 0;
  ContentHash hash;
  std::memcpy(&found_version, text.data() + 8, 4);
  std::memcpy(&length, text.data() + 16, 8);
  std::memcpy(hash.bytes.data(), text.data() + 24, 16);
  if (found_version != version) {
    throw DataError(
        fmt::format("{} has format version {}, this cskd reads version {}", path.native(), found_version, version));
  }
  if (length != text.size() - kSealedHeader) {
    throw DataError(fmt::format("{} holds {} bytes where {} were written: it was cut off", path.native(),
                                text.size() - kSealedHeader, length));
  }
  text.erase(0, kSealedHeader);
  if (content_hash(text) != hash) {
    throw DataError(fmt::format("{} is damaged: its checksum is {}, but {} was written", path.native(),
                                content_hash(text).hex(), hash.hex()));
  }
  return text;
}

}  // namespace cskd::runtime
