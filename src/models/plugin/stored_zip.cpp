#include "models/plugin/stored_zip.h"

#include <algorithm>
#include <cstddef>
#include <span>
#include <utility>
#include <vector>

#include <fmt/format.h>
#include <zlib.h>

#include "models/safetensors_header.h"
#include "runtime/error.h"

namespace cskd::models {
namespace {

constexpr std::uint64_t kEndSize = 22;
constexpr std::uint64_t kLongestComment = 65535;
constexpr std::uint64_t kLocatorSize = 20;
constexpr std::uint64_t kLargeEndSize = 56;
constexpr std::uint64_t kDirectoryEntrySize = 46;
constexpr std::uint64_t kLocalHeaderSize = 30;
constexpr std::uint64_t kLargestDirectory = 256'000'000;
constexpr std::uint32_t kIsElsewhere = 0xFFFFFFFF;  // the number stands in the extension for large files

// A record of the archive, read field by field.
class Fields {
 public:
  explicit Fields(std::span<const std::byte> bytes) : bytes_(bytes) {}

  std::uint64_t left() const { return bytes_.size() - at_; }
  void skip(std::uint64_t count) { at_ += count; }
  std::uint16_t u16() { return static_cast<std::uint16_t>(number(2)); }
  std::uint32_t u32() { return static_cast<std::uint32_t>(number(4)); }
  std::uint64_t u64() { return number(8); }
  std::span<const std::byte> bytes(std::uint64_t count) {
    at_ += count;
    return bytes_.subspan(at_ - count, count);
  }

 private:
  // REQUIRES: that many bytes are left
  std::uint64_t number(std::size_t bytes) {
    std::uint64_t value = 0;
    for (std::size_t i = 0; i < bytes; ++i) value |= std::to_integer<std::uint64_t>(bytes_[at_ + i]) << (8 * i);
    at_ += bytes;
    return value;
  }

  std::span<const std::byte> bytes_;
  std::uint64_t at_ = 0;
};

struct Directory {
  std::uint64_t offset = 0;
  std::uint64_t size = 0;
  std::uint64_t entries = 0;
};

class ZipReader {
 public:
  explicit ZipReader(const runtime::InputFile& file) : file_(file) {}

  std::map<std::string, ZipMember> read() {
    const Directory directory = find_directory();
    if (directory.size > kLargestDirectory || directory.offset > file_.size() ||
        directory.size > file_.size() - directory.offset)
      fail("its directory does not lie in the file");
    const std::vector<std::byte> bytes = file_.read_at(directory.offset, directory.size);
    Fields fields(bytes);
    std::map<std::string, ZipMember> members;
    for (std::uint64_t i = 0; i < directory.entries; ++i) {
      auto [path, member] = read_entry(fields);
      if (path.ends_with('/') && member.size == 0) continue;  // a folder
      if (!members.emplace(path, member).second) fail(fmt::format("it holds {} twice", shown(path)));
    }
    require_apart(members, directory.offset);
    return members;
  }

 private:
  [[noreturn]] void fail(const std::string& reason) const {
    throw runtime::DataError(fmt::format("{} is not a valid zip archive: {}", file_.path().native(), reason));
  }

  // A record behind its signature.
  std::vector<std::byte> record(std::uint64_t offset, std::uint64_t size, std::uint32_t signature,
                                const char* name) const {
    if (offset > file_.size() || size > file_.size() - offset) fail(fmt::format("{} lies behind its end", name));
    std::vector<std::byte> bytes = file_.read_at(offset, size);
    if (Fields(bytes).u32() != signature) fail(fmt::format("{} is damaged", name));
    return bytes;
  }

  Directory find_directory() const {
    const std::uint64_t tail = std::min(file_.size(), kEndSize + kLongestComment);
    const std::vector<std::byte> bytes = file_.read_at(file_.size() - tail, tail);
    for (std::uint64_t back = kEndSize; back <= tail; ++back) {
      Fields fields(std::span<const std::byte>(bytes).subspan(tail - back));
      if (fields.u32() != 0x06054B50) continue;
      fields.skip(6);
      Directory directory;
      directory.entries = fields.u16();
      directory.size = fields.u32();
      directory.offset = fields.u32();
      if (fields.u16() != back - kEndSize) continue;
      const std::uint64_t end = file_.size() - back;
      const bool is_large =
          directory.entries == 0xFFFF || directory.size == kIsElsewhere || directory.offset == kIsElsewhere;
      return is_large ? find_large_directory(end) : directory;
    }
    fail("its end is missing, so it was cut, or it is no archive");
  }

  Directory find_large_directory(std::uint64_t end) const {
    if (end < kLocatorSize) fail("its directory is damaged");
    const std::vector<std::byte> locator =
        record(end - kLocatorSize, kLocatorSize, 0x07064B50, "the place of its directory");
    Fields place(locator);
    place.skip(8);
    const std::vector<std::byte> bytes = record(place.u64(), kLargeEndSize, 0x06064B50, "the size of its directory");
    Fields fields(bytes);
    fields.skip(32);
    Directory directory;
    directory.entries = fields.u64();
    directory.size = fields.u64();
    directory.offset = fields.u64();
    return directory;
  }

  void require_path(const std::string& path) const {
    const bool leaves = path.starts_with('/') || path.find('\\') != std::string::npos ||
                        path.find('\0') != std::string::npos || path == ".." || path.starts_with("../") ||
                        path.find("/../") != std::string::npos || path.ends_with("/..");
    if (path.empty() || leaves) fail(fmt::format("the path {} leads out of it", shown_path(path)));
  }

  // Paths need not be UTF-8.
  static std::string shown_path(const std::string& path) {
    const bool is_ascii = std::ranges::all_of(path, [](char c) { return c >= ' ' && c <= '~'; });
    return is_ascii ? shown(path) : "of other characters than ASCII";
  }

  std::pair<std::string, ZipMember> read_entry(Fields& fields) const {
    if (fields.left() < kDirectoryEntrySize || fields.u32() != 0x02014B50) fail("its directory is damaged");
    fields.skip(4);
    const std::uint16_t flags = fields.u16();
    const std::uint16_t method = fields.u16();
    fields.skip(4);
    ZipMember member;
    member.crc32 = fields.u32();
    std::uint64_t stored = fields.u32();
    member.size = fields.u32();
    const std::uint16_t name_size = fields.u16();
    const std::uint16_t extra_size = fields.u16();
    const std::uint16_t comment_size = fields.u16();
    fields.skip(8);
    std::uint64_t header = fields.u32();
    if (fields.left() < std::uint64_t{name_size} + extra_size + comment_size) fail("its directory is damaged");
    const std::span<const std::byte> name = fields.bytes(name_size);
    const std::string path(reinterpret_cast<const char*>(name.data()), name.size());
    require_path(path);
    read_large_numbers(Fields(fields.bytes(extra_size)), path, member.size, stored, header);
    fields.skip(comment_size);
    if ((flags & 1U) != 0) fail(fmt::format("{} is encrypted", shown_path(path)));
    if (method != 0 || stored != member.size) {
      fail(
          fmt::format("{} is compressed; torch.export.save() stores members as they are, so pack it again without "
                      "compression (zip -0)",
                      shown_path(path)));
    }
    member.offset = data_offset(path, header, name_size);
    if (member.offset > file_.size() || member.size > file_.size() - member.offset)
      fail(fmt::format("{} reaches beyond the file", shown_path(path)));
    return {path, member};
  }

  // The extension for large files holds those of the three numbers that do not fit, in this order.
  void read_large_numbers(Fields extra, const std::string& path, std::uint64_t& size, std::uint64_t& stored,
                          std::uint64_t& header) const {
    while (extra.left() >= 4) {
      const std::uint16_t kind = extra.u16();
      const std::uint16_t length = extra.u16();
      if (extra.left() < length) fail(fmt::format("the entry of {} is damaged", shown_path(path)));
      Fields field(extra.bytes(length));
      if (kind != 1) continue;
      for (std::uint64_t* const number : {&size, &stored, &header}) {
        if (*number != kIsElsewhere) continue;
        if (field.left() < 8) fail(fmt::format("the entry of {} is damaged", shown_path(path)));
        *number = field.u64();
      }
    }
  }

  std::uint64_t data_offset(const std::string& path, std::uint64_t header, std::uint64_t name_size) const {
    const std::vector<std::byte> bytes = record(header, kLocalHeaderSize, 0x04034B50, "the header of a member");
    Fields fields(bytes);
    fields.skip(26);
    const std::uint64_t own_name_size = fields.u16();
    const std::uint64_t extra_size = fields.u16();
    if (own_name_size != name_size) fail(fmt::format("the header of {} has another path", shown_path(path)));
    return header + kLocalHeaderSize + own_name_size + extra_size;
  }

  void require_apart(const std::map<std::string, ZipMember>& members, std::uint64_t directory) const {
    std::vector<std::pair<std::uint64_t, std::uint64_t>> ranges;
    for (const auto& [path, member] : members) ranges.emplace_back(member.offset, member.offset + member.size);
    std::ranges::sort(ranges);
    std::uint64_t end = 0;
    for (const auto& [begin, next] : ranges) {
      if (begin < end || next > directory) fail("its members overlap");
      end = next;
    }
  }

  const runtime::InputFile& file_;
};

}  // namespace

std::map<std::string, ZipMember> read_stored_zip(const runtime::InputFile& file) { return ZipReader(file).read(); }

std::string read_member(const runtime::InputFile& file, const std::string& path, const ZipMember& member,
                        std::uint64_t limit) {
  if (member.size > limit) {
    throw runtime::DataError(
        fmt::format("{}: {} has {} bytes, at most {} are read", file.path().native(), path, member.size, limit));
  }
  require_checksum(file, path, member);
  const std::vector<std::byte> bytes = file.read_at(member.offset, member.size);
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

void require_checksum(const runtime::InputFile& file, const std::string& path, const ZipMember& member) {
  constexpr std::uint64_t kPiece = 1U << 20U;
  uLong sum = crc32(0, nullptr, 0);
  for (std::uint64_t at = 0; at < member.size; at += kPiece) {
    const std::vector<std::byte> bytes = file.read_at(member.offset + at, std::min(kPiece, member.size - at));
    sum = crc32(sum, reinterpret_cast<const Bytef*>(bytes.data()), static_cast<uInt>(bytes.size()));
  }
  if (sum != member.crc32) {
    throw runtime::DataError(
        fmt::format("{} is damaged: the checksum of {} differs from its bytes (files written under "
                    "torch.serialization.set_crc32_options(False) have none, and are refused)",
                    file.path().native(), path));
  }
}

}  // namespace cskd::models
