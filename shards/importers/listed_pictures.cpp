#include "shards/importers/listed_pictures.h"

#include <string_view>
#include <utility>

#include <fmt/format.h>

#include "runtime/error.h"
#include "shards/importers/fields.h"
#include "shards/importers/file_status.h"
#include "shards/importers/relative_name.h"

namespace cskd::shards {
namespace {

constexpr size_t kLongestKey = 4096;

}  // namespace

void ListedPictures::check_key(const std::string& key) {
  if (key.empty() || key.back() == '/') throw runtime::DataError(fmt::format("{} names no picture", in_quotes(key)));
  if (key.size() > kLongestKey) {
    throw runtime::DataError(
        fmt::format("{} has {} bytes, at most {} are possible", in_quotes(key), key.size(), kLongestKey));
  }
  if (!stays_inside(is_absolute(key) ? std::string_view(key).substr(1) : key)) {
    throw runtime::DataError(
        fmt::format("{} is absolute or leads out of its folder: pictures are named relative to the folder of images{}",
                    in_quotes(key), key.starts_with('/') ? " (a csv source may allow absolute_paths)" : ""));
  }
  if (!keys_.insert(key)) throw runtime::DataError(fmt::format("{} is named twice", in_quotes(key)));
}

Entry ListedPictures::entry(const std::string& folder, const std::string& key, std::optional<Label> label,
                            Split split) {
  check_key(key);
  Entry entry{
      .key = key, .file = is_absolute(key) ? key : folder + "/" + key, .split = split, .label = std::move(label)};
  const FileStatus status = file_status(entry.file);
  if (status.kind == FileStatus::Kind::kFile) {
    entry.size = status.size;
    entry.changed = status.changed;
  } else {
    entry.fault =
        fmt::format("{}, but {}", entry.label ? "rated" : "listed",
                    status.kind == FileStatus::Kind::kMissing ? "the picture is missing" : "it is not a regular file");
  }
  return entry;
}

}  // namespace cskd::shards
