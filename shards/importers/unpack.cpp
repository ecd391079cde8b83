#include "shards/importers/unpack.h"

#include <array>
#include <cerrno>
#include <fstream>
#include <memory>
#include <span>
#include <string_view>
#include <system_error>
#include <vector>

#include <archive.h>
#include <archive_entry.h>
#include <fmt/format.h>

#include "runtime/error.h"
#include "runtime/input_file.h"

namespace cskd::shards {
namespace {

constexpr std::uint64_t kMostGrowth = 100;
constexpr std::uint64_t kAlwaysAllowed = 64ULL << 20;

using Reader = std::unique_ptr<archive, decltype(&archive_read_free)>;

// The one "raw" entry that libarchive makes of whatever the compressions hold.
Reader open_raw(const std::string& file) {
  Reader reader(archive_read_new(), &archive_read_free);
  for (const auto support :
       {archive_read_support_filter_gzip, archive_read_support_filter_bzip2, archive_read_support_filter_xz,
        archive_read_support_filter_zstd, archive_read_support_format_raw}) {
    // ARCHIVE_WARN: it would run a program of that name, which libarchive built without the library does.
    if (support(reader.get()) != ARCHIVE_OK) throw runtime::Error("this build of libarchive lacks a compression");
  }
  constexpr std::size_t kBlock = 1U << 20;
  archive_entry* entry = nullptr;
  if (archive_read_open_filename(reader.get(), file.c_str(), kBlock) != ARCHIVE_OK ||
      archive_read_next_header(reader.get(), &entry) != ARCHIVE_OK) {
    throw runtime::DataError(fmt::format("{} cannot be unpacked: {}", file, archive_error_string(reader.get())));
  }
  if (archive_filter_code(reader.get(), 0) == ARCHIVE_FILTER_NONE)
    throw runtime::DataError(fmt::format("{} cannot be unpacked: its first bytes are damaged", file));
  return reader;
}

void copy(const Reader& reader, const std::string& file, const std::filesystem::path& target) {
  const std::uint64_t most = std::max(kAlwaysAllowed, kMostGrowth * std::filesystem::file_size(file));
  std::ofstream out(target, std::ios::binary | std::ios::trunc);
  std::vector<char> room(1U << 20);
  for (std::uint64_t written = 0;;) {
    const la_ssize_t count = archive_read_data(reader.get(), room.data(), room.size());
    if (count < 0) {
      throw runtime::DataError(
          fmt::format("{} cannot be unpacked: {}: was it cut off?", file, archive_error_string(reader.get())));
    }
    if (count == 0) break;
    written += static_cast<std::uint64_t>(count);
    if (written > most) {
      throw runtime::DataError(
          fmt::format("{} grows to more than {} bytes when it is unpacked: no archive of pictures does", file, most));
    }
    errno = 0;
    if (!out.write(room.data(), count))
      runtime::throw_system_error(fmt::format("cannot unpack {} to {}", file, target.native()), errno);
  }
  errno = 0;
  out.close();
  if (!out) runtime::throw_system_error(fmt::format("cannot unpack {} to {}", file, target.native()), errno);
}

}  // namespace

bool is_compressed(const std::string& file) {
  constexpr std::array<std::string_view, 4> kSignatures{std::string_view("\x1F\x8B", 2), "BZh",
                                                        std::string_view("\xFD"
                                                                         "7zXZ\0",
                                                                         6),
                                                        "\x28\xB5\x2F\xFD"};
  const runtime::InputFile input(file);
  std::string begin(std::min<std::uint64_t>(input.size(), 6), '\0');
  input.read_at(0, std::as_writable_bytes(std::span(begin)));
  for (const std::string_view signature : kSignatures) {
    if (begin.starts_with(signature)) return true;
  }
  return false;
}

void unpack(const std::string& file, const std::filesystem::path& target) {
  try {
    copy(open_raw(file), file, target);
  } catch (...) {
    std::error_code ignored;
    std::filesystem::remove(target, ignored);
    throw;
  }
}

}  // namespace cskd::shards
