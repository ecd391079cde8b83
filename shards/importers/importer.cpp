#include "shards/importers/importer.h"

#include <algorithm>
#include <array>
#include <optional>
#include <span>
#include <string_view>
#include <utility>

#include <fmt/format.h>

#include "runtime/error.h"
#include "shards/importers/kinds.h"
#include "shards/importers/rating_scale.h"
#include "shards/importers/scale_mapping.h"
#include "shards/importers/source_check.h"
#include "shards/importers/split_rule.h"

namespace cskd::shards {
namespace {

std::string lower_extension(const std::filesystem::path& file) {
  std::string extension = file.extension().native();
  std::transform(extension.begin(), extension.end(), extension.begin(),
                 [](unsigned char c) { return static_cast<char>(c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c); });
  return extension;
}

}  // namespace

std::unique_ptr<Importer> make_importer(const config::Source& source, const std::filesystem::path& scratch) {
  check_source(source);
  return with_split_rule(with_scale_mapping(source_kind(source.kind()).make(source, scratch), source), source);
}

std::vector<float> bin_centres(const config::Source& source) {
  if (source.split() == config::Source::unlabelled) return {};
  const std::optional<ScaleMapping> mapping = ScaleMapping::of(source);
  return mapping ? mapping->bins() : rating_scale(source).bins;
}

bool has_picture_extension(const std::filesystem::path& file) {
  constexpr std::array<std::string_view, 8> kExtensions{".jpg",   ".jpeg", ".jpe", ".jfif",
                                                        ".pjpeg", ".pjp",  ".png", ".webp"};
  return std::ranges::find(kExtensions, lower_extension(file)) != kExtensions.end();
}

std::string kind_of_file(const std::filesystem::path& file) {
  constexpr std::size_t kLongest = 16;  // beyond it is hardly the name of a format
  const std::string extension = lower_extension(file);
  return extension.size() < 2 || extension.size() > kLongest ? kNoExtension : extension;
}

bool begins_as_picture(const runtime::InputFile& file, std::uint64_t offset, std::uint64_t size) {
  constexpr std::uint64_t kSignature = 12;  // the longest: WebP's
  if (size < kSignature) return false;
  std::string begin(kSignature, '\0');
  file.read_at(offset, std::as_writable_bytes(std::span(begin)));
  return begin.starts_with("\xFF\xD8\xFF") || begin.starts_with("\x89PNG\r\n\x1A\n") ||
         (begin.starts_with("RIFF") && begin.ends_with("WEBP"));
}

}  // namespace cskd::shards
