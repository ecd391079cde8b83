#include "shards/importers/tar_index.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <map>
#include <optional>
#include <string_view>
#include <utility>

#include <fmt/format.h>

#include "runtime/error.h"
#include "shards/importers/fields.h"
#include "shards/importers/relative_name.h"

namespace cskd::shards {
namespace {

constexpr std::uint64_t kBlock = 512;
constexpr std::uint64_t kLongestName = 65'536;

using Block = std::array<char, kBlock>;

// Fields of the ustar header, IEEE Std 1003.1, "pax", table 4-13: offset and length.
std::string_view field(const Block& block, size_t offset, size_t length) { return {block.data() + offset, length}; }

std::string text_of(std::string_view bytes) { return std::string(bytes.substr(0, bytes.find('\0'))); }

class Index {
 public:
  Index(const runtime::InputFile& archive, const PassOver& pass_over) : archive_(archive), pass_over_(pass_over) {}

  std::vector<TarMember> members() {
    bool has_ended = false;
    while (at_ + kBlock <= archive_.size()) {
      Block block;
      archive_.read_at(at_, std::as_writable_bytes(std::span(block)));
      has_ended = std::all_of(block.begin(), block.end(), [](char c) { return c == 0; });
      if (has_ended) {
        refuse_open_description();
        skip_zeros();
      } else {
        check_sum(block);
        take(block);
      }
    }
    if (!has_ended && at_ + kBlock > archive_.size() && at_ != archive_.size())
      fail("the archive ends inside a header");
    refuse_open_description();
    if (!has_ended) fail("the archive lacks its end, a block of zeros");
    check_names();
    return std::move(members_);
  }

 private:
  void refuse_open_description() const {
    if (long_name_ || long_size_ || long_link_) fail("the archive ends behind a header that describes a member");
  }

  // To the next block that holds something.
  void skip_zeros() {
    std::vector<char> room(std::size_t{512} * kBlock);
    while (at_ + kBlock <= archive_.size()) {
      const std::span<char> blocks =
          std::span(room).first(std::min<std::uint64_t>(room.size(), (archive_.size() - at_) / kBlock * kBlock));
      archive_.read_at(at_, std::as_writable_bytes(blocks));
      const auto found = std::find_if(blocks.begin(), blocks.end(), [](char c) { return c != 0; });
      at_ += static_cast<std::uint64_t>(found - blocks.begin()) / kBlock * kBlock;
      if (found != blocks.end()) return;
    }
  }

  [[noreturn]] void fail(const std::string& what) const {
    throw runtime::DataError(
        fmt::format("{}: at byte {}: {}; is the tar archive whole?", archive_.path().native(), at_, what));
  }

  [[noreturn]] void refuse(std::string_view member, const char* why) const {
    throw runtime::DataError(
        fmt::format("{}: a member's name {}: {}", archive_.path().native(), why, in_quotes(member)));
  }

  // Octal text, or GNU's base 256 where the first bit is set.
  std::uint64_t number(std::string_view digits) const {
    if ((static_cast<unsigned char>(digits[0]) & 0x80U) != 0) {
      std::uint64_t value = static_cast<unsigned char>(digits[0]) & 0x7FU;
      for (const char c : digits.substr(1)) {
        if ((value >> 55) != 0) fail("a number is too large");
        value = (value << 8) | static_cast<unsigned char>(c);
      }
      return value;
    }
    while (!digits.empty() && (digits.front() == ' ' || digits.front() == '0')) digits.remove_prefix(1);
    while (!digits.empty() && (digits.back() == ' ' || digits.back() == '\0')) digits.remove_suffix(1);
    digits = digits.substr(0, digits.find('\0'));
    if (digits.empty()) return 0;
    std::uint64_t value = 0;
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value, 8);
    if (error != std::errc() || end != digits.data() + digits.size()) fail("a number of the header is not octal");
    return value;
  }

  void check_sum(const Block& block) const {
    std::uint64_t sum = 0;
    for (size_t i = 0; i < kBlock; ++i) {
      sum += i >= 148 && i < 156 ? static_cast<unsigned char>(' ') : static_cast<unsigned char>(block[i]);
    }
    if (number(field(block, 148, 8)) != sum) fail("no tar header (its checksum is wrong)");
  }

  std::string small_text(std::uint64_t size) const {
    if (size > kLongestName) fail(fmt::format("a name of {} bytes, at most {} are read", size, kLongestName));
    std::string text(size, '\0');
    archive_.read_at(at_ + kBlock, std::as_writable_bytes(std::span(text)));
    return text;
  }

  // Records of a pax header: "<length> <key>=<value>\n".
  void take_pax(std::string_view records) {
    while (!records.empty()) {
      size_t length = 0;
      const auto [end, error] = std::from_chars(records.data(), records.data() + records.size(), length);
      const auto digits = static_cast<size_t>(end - records.data());
      if (error != std::errc() || length > records.size() || length < digits + 2 || records[length - 1] != '\n') {
        fail("a damaged pax record");
      }
      const std::string_view record = records.substr(digits + 1, length - digits - 2);
      const size_t equals = record.find('=');
      if (equals == std::string_view::npos) fail("a pax record without '='");
      const std::string_view key = record.substr(0, equals);
      const std::string_view value = record.substr(equals + 1);
      if (key == "path") long_name_ = std::string(value);
      if (key == "linkpath") long_link_ = std::string(value);
      if (key.starts_with("GNU.sparse.")) is_sparse_ = true;
      if (key == "size") {
        std::uint64_t size = 0;
        const auto parsed = std::from_chars(value.data(), value.data() + value.size(), size);
        if (parsed.ec != std::errc() || parsed.ptr != value.data() + value.size()) fail("a damaged pax size");
        long_size_ = size;
      }
      records.remove_prefix(length);
    }
  }

  void take(const Block& block) {
    const char type = block[156];
    const bool describes_next = type == 'x' || type == 'g' || type == 'L' || type == 'K';
    const bool is_without_data = type >= '1' && type <= '6';  // links, devices, folders: their size says something else
    std::uint64_t size = number(field(block, 124, 12));
    if (!describes_next && long_size_) size = *long_size_;
    if (is_without_data) size = 0;
    if (type == 'S') skip_sparse_maps(block);
    const std::uint64_t left = archive_.size() - at_ - kBlock;
    if (size > left) fail(fmt::format("a member of {} bytes, but only {} follow", size, left));
    if (type == 'x') {
      take_pax(small_text(size));
    } else if (type == 'L') {
      long_name_ = text_of(small_text(size));
    } else if (type == 'K') {
      long_link_ = text_of(small_text(size));
    } else if (!describes_next) {
      const bool is_file = type == '0' || type == '\0' || type == '7';
      if (is_file && !is_sparse_) {
        take_file(name(block), at_ + kBlock, size);
      } else if (type == '1') {
        take_hard_link(block);
      } else if (type != '5' && pass_over_) {
        pass_over_(name(block), type == 'S' || is_sparse_ ? "sparse file in an archive" : "link in an archive");
      }
      long_name_.reset();
      long_link_.reset();
      long_size_.reset();
      is_sparse_ = false;
    }
    at_ += kBlock + std::min(left, (size + kBlock - 1) / kBlock * kBlock);
  }

  void take_hard_link(const Block& block) {
    for (; linked_ < members_.size(); ++linked_) places_.emplace(members_[linked_].name, linked_);
    const auto target = places_.find(long_link_ ? *long_link_ : text_of(field(block, 157, 100)));
    if (target != places_.end()) {
      take_file(name(block), members_[target->second].offset, members_[target->second].size);
    } else if (pass_over_) {
      pass_over_(name(block), "link in an archive");
    }
  }

  void take_file(std::string name, std::uint64_t offset, std::uint64_t size) {
    if (name.ends_with('/')) return;  // how the oldest archives mark folders
    if (name.empty() || name.find('\0') != std::string::npos) fail("a member without a name, or with a NUL byte in it");
    if (!stays_inside(name)) refuse(name, "is absolute or leads out of the archive");
    members_.push_back({std::move(name), offset, size});
  }

  // GNU's old form of a sparse file: a map of its pieces, where it does not fit into the header in further blocks
  // before the data. Moves on to the last of them.
  void skip_sparse_maps(const Block& header) {
    for (bool goes_on = header[482] != 0; goes_on;) {
      at_ += kBlock;
      if (archive_.size() - at_ < kBlock) fail("the archive ends inside the map of a sparse file");
      Block map;
      archive_.read_at(at_, std::as_writable_bytes(std::span(map)));
      goes_on = map[504] != 0;
    }
  }

  // Extracted, the last of two members of one name would win; here both would have one key.
  void check_names() const {
    std::vector<std::string_view> names;
    for (const TarMember& member : members_) names.push_back(member.name);
    std::sort(names.begin(), names.end());
    const auto twice = std::adjacent_find(names.begin(), names.end());
    if (twice != names.end()) refuse(*twice, "is there twice");
  }

  std::string name(const Block& block) const {
    if (long_name_) return *long_name_;
    const std::string base = text_of(field(block, 0, 100));
    const bool is_ustar = field(block, 257, 6) == std::string_view("ustar\0", 6);
    const std::string prefix = is_ustar ? text_of(field(block, 345, 155)) : "";
    return prefix.empty() ? base : prefix + "/" + base;
  }

  const runtime::InputFile& archive_;
  const PassOver& pass_over_;
  std::uint64_t at_ = 0;
  std::vector<TarMember> members_;
  std::map<std::string, std::size_t> places_;  // of the first members by their names, since a hard link was met
  std::size_t linked_ = 0;                     // how many of them
  std::optional<std::string> long_name_;
  std::optional<std::string> long_link_;
  std::optional<std::uint64_t> long_size_;
  bool is_sparse_ = false;
};

}  // namespace

std::vector<TarMember> index_tar(const runtime::InputFile& archive, const PassOver& pass_over) {
  return Index(archive, pass_over).members();
}

}  // namespace cskd::shards
