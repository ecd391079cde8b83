#include "shards/importers/sidecar_ratings.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <nlohmann/json.hpp>

#include "runtime/error.h"
#include "shards/importers/fields.h"
#include "shards/importers/importer.h"
#include "shards/importers/rated_table.h"

namespace cskd::shards {
namespace {

using Json = nlohmann::json;
using Field = SidecarFields::Field;

constexpr std::uint64_t kLargestFile = 1U << 20;
constexpr std::string_view kBlanks = " \t\r\n,;[]";

Field field_of(const std::string& column, const std::string& name) {
  Field field{.column = column, .name = name, .extension = ".json"};
  if (name.starts_with('.')) {
    if (kind_of_file("picture" + name) != name)
      throw runtime::DataError(
          fmt::format("{} is \"{}\", expected a field or an extension like \".cls\"", column, name));
    field.extension = name;
  } else if (name.starts_with('/')) {
    try {
      field.pointer = Json::json_pointer(name).to_string();
    } catch (const Json::exception&) {
      throw runtime::DataError(fmt::format("{} is \"{}\", which is not a JSON pointer (RFC 6901)", column, name));
    }
  } else {
    field.pointer = (Json::json_pointer() / name).to_string();
  }
  return field;
}

std::optional<Field> optional_field(const std::string& column, const std::string& name) {
  return name.empty() ? std::nullopt : std::make_optional(field_of(column, name));
}

double number_in(const Json& value) {
  if (value.is_string()) return number_of(value.get<std::string>());
  if (value.is_number()) {
    if (const auto number = value.get<double>(); std::isfinite(number)) return number;
  }
  throw runtime::DataError(fmt::format("{} is not a number", in_quotes(value.dump(-1, ' ', true))));
}

std::string trimmed_lines(std::string_view text) {
  const auto is_end = [](char c) { return c == '\r' || c == '\n'; };
  while (!text.empty() && is_end(text.back())) text.remove_suffix(1);
  return std::string(trimmed(text));
}

}  // namespace

SidecarFields::SidecarFields(const config::CsvColumns& columns)
    : mean(optional_field("columns.mean", columns.mean())),
      stddev(optional_field("columns.stddev", columns.stddev())),
      split(optional_field("columns.split", columns.split())) {
  for (const std::string& name : columns.counts()) counts.push_back(field_of("columns.counts", name));
}

bool SidecarFields::read(std::string_view extension) const {
  const auto is_it = [&](const Field& field) { return field.extension == extension; };
  return (mean && is_it(*mean)) || (stddev && is_it(*stddev)) || (split && is_it(*split)) ||
         std::any_of(counts.begin(), counts.end(), is_it);
}

SidecarRatings::SidecarRatings(const SidecarFields& fields, const RatingScale& scale, const runtime::InputFile& archive,
                               const std::vector<TarMember>& members)
    : fields_(fields), scale_(scale), archive_(archive) {
  for (const TarMember& member : members) {
    const std::string extension = kind_of_file(member.name);
    if (!fields.read(extension)) continue;
    std::string name = member.name;
    name.replace(name.size() - extension.size(), extension.size(), extension);
    files_.emplace(std::move(name), &member);
  }
}

SidecarRatings::~SidecarRatings() = default;

const TarMember* SidecarRatings::beside(std::string_view picture, const std::string& extension) const {
  const size_t name = picture.rfind('/') + 1;  // 0 without a folder
  for (const size_t dot : {picture.rfind('.'), picture.find('.', name)}) {
    if (dot == std::string_view::npos || dot < name) continue;
    if (const auto found = files_.find(std::string(picture.substr(0, dot)) + extension); found != files_.end())
      return found->second;
  }
  const auto found = files_.find(std::string(picture) + extension);  // a picture without an extension
  return found == files_.end() ? nullptr : found->second;
}

const Json& SidecarRatings::document(const TarMember& file) {
  if (opened_ == &file) return *document_;
  if (file.size > kLargestFile)
    throw runtime::DataError(fmt::format("has {} bytes, at most {} are read", file.size, kLargestFile));
  const std::vector<std::byte> bytes = archive_.read_at(file.offset, file.size);
  const std::string_view text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  if (kind_of_file(file.name) != ".json") {
    document_ = std::make_unique<Json>(trimmed_lines(text));
  } else {
    try {
      document_ = std::make_unique<Json>(Json::parse(text));
    } catch (const Json::parse_error& error) {
      throw runtime::DataError(fmt::format("is not JSON, at byte {}", error.byte));
    } catch (const Json::exception&) {  // nlohmann calls it no fault of the grammar
      throw runtime::DataError("holds a number that is larger than any double");
    }
  }
  opened_ = &file;
  return *document_;
}

Json SidecarRatings::value(const std::string& picture, const Field& field) {
  const TarMember* file = beside(picture, field.extension);
  if (file == nullptr) return nullptr;
  place_ = file->name;
  const Json& whole = document(*file);
  const Json::json_pointer pointer(field.pointer);
  if (!whole.contains(pointer)) return nullptr;
  ++found_[&field];
  place_ = fmt::format("{}: {}", file->name, field.name);
  return whole.at(pointer);
}

// Empty where one of them is missing.
std::vector<double> SidecarRatings::counts(const std::string& picture) {
  std::vector<double> counts;
  for (const Field& field : fields_.counts) {
    const Json found = value(picture, field);
    if (found.is_null()) return {};
    if (found.is_array()) {
      for (const Json& number : found) counts.push_back(number_in(number));
    } else if (found.is_string() && fields_.counts.size() == 1) {
      const auto text = found.get<std::string>();
      for (size_t at = text.find_first_not_of(kBlanks); at != std::string::npos;) {
        const size_t end = std::min(text.find_first_of(kBlanks, at), text.size());
        counts.push_back(number_of(text.substr(at, end - at)));
        at = text.find_first_not_of(kBlanks, end);
      }
    } else {
      counts.push_back(number_in(found));
    }
  }
  if (counts.size() != scale_.bins.size())
    throw runtime::DataError(fmt::format("{} counts, but {} bins", counts.size(), scale_.bins.size()));
  return counts;
}

std::optional<Label> SidecarRatings::label(const std::string& picture) {
  if (!fields_.mean) {
    const std::vector<double> found = counts(picture);
    return found.empty() ? std::nullopt : std::make_optional(label_from_counts(found, scale_.bins));
  }
  const Json mean = value(picture, *fields_.mean);
  const Json stddev = fields_.stddev ? value(picture, *fields_.stddev) : Json();
  if (mean.is_null()) return std::nullopt;
  if (stddev.is_null()) return scale_.label_of(number_in(mean));
  return label_from_mean(number_in(mean), number_in(stddev), scale_.bins);
}

SidecarRatings::Rating SidecarRatings::of(const std::string& picture) {
  place_ = picture;
  ++pictures_;
  try {
    Rating rating{.label = label(picture)};
    if (fields_.split) {
      const Json split = value(picture, *fields_.split);
      if (!split.is_null() && !split.is_string())
        throw runtime::DataError(fmt::format("{} is not a text", in_quotes(split.dump(-1, ' ', true))));
      rating.split = split.is_null() ? Split::kUnlabelled : split_named(trimmed(split.get<std::string>()));
    }
    return rating;
  } catch (const runtime::DataError& error) {
    throw runtime::DataError(fmt::format("{}: {}: {}", archive_.path().native(), place_, error.what()));
  }
}

void SidecarRatings::refuse_unknown_fields() const {
  if (pictures_ == 0) return;
  const auto check = [&](const Field& field) {
    if (found_.contains(&field)) return;
    std::string hint;
    if (!field.pointer.empty() && document_ && document_->is_object()) {
      std::vector<std::string> there;
      for (const auto& [name, value] : document_->items()) there.push_back(in_quotes(name));
      hint = fmt::format("; the last {} has {}", field.extension, fmt::join(there, ", "));
    }
    throw runtime::DataError(fmt::format(
        "{}: {} is \"{}\", but not one of {} pictures has {} beside it{} (archives without ratings can be a "
        "source of their own)",
        archive_.path().native(), field.column, field.name, pictures_,
        field.pointer.empty() ? fmt::format("a {} file", field.extension)
                              : fmt::format("a {} with this field", field.extension),
        hint));
  };
  if (fields_.mean) check(*fields_.mean);
  if (fields_.stddev) check(*fields_.stddev);
  for (const Field& field : fields_.counts) check(field);
  if (fields_.split) check(*fields_.split);
}

}  // namespace cskd::shards
