#include "config/schema.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <sstream>

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <google/protobuf/descriptor.pb.h>

#include "config/config.pb.h"
#include "config/embedded_schema.h"
#include "runtime/check.h"

namespace cskd::config {
namespace {

using google::protobuf::Descriptor;
using google::protobuf::FieldDescriptor;

constexpr std::int64_t kLowest = std::numeric_limits<std::int64_t>::min();
constexpr std::int64_t kHighest = std::numeric_limits<std::int64_t>::max();

// The descriptors in the program carry no comments, those of the embedded set do.
class Comments {
 public:
  Comments() {
    google::protobuf::FileDescriptorSet set;
    CSKD_CHECK(set.ParseFromArray(embedded_schema().data(), static_cast<int>(embedded_schema().size())),
               "the embedded schema cannot be parsed");
    for (const google::protobuf::FileDescriptorProto& file : set.file()) {
      CSKD_CHECK(pool_.BuildFile(file) != nullptr, "the embedded {} is not valid", file.name());
    }
  }

  std::string of(const FieldDescriptor& field) const {
    const FieldDescriptor* twin = pool_.FindFieldByName(field.full_name());
    return text(twin);
  }
  std::string of(const google::protobuf::EnumValueDescriptor& value) const {
    return text(pool_.FindEnumTypeByName(value.type()->full_name())->FindValueByName(value.name()));
  }

 private:
  // A comment's lines joined into one.
  template <typename T>
  static std::string text(const T* descriptor) {
    CSKD_CHECK(descriptor != nullptr, "the embedded schema is not the one of this program");
    google::protobuf::SourceLocation location;
    if (!descriptor->GetSourceLocation(&location)) return "";
    std::istringstream words(location.leading_comments);
    std::string joined;
    for (std::string word; words >> word;) joined += (joined.empty() ? "" : " ") + word;
    return joined;
  }

  google::protobuf::DescriptorPool pool_;
};

std::string number_text(double number) {
  return std::abs(number) < 1e15 && number == std::floor(number) ? fmt::format("{:.0f}", number)
                                                                 : fmt::format("{}", number);
}

std::string range_text(const FieldDescriptor& field) {
  const KeyRules& limits = rules_of(field);
  std::string text;
  if (limits.has_above()) {
    text = "above " + number_text(limits.above());
  } else if (limits.has_min()) {
    text = "from " + number_text(limits.min());
  } else if (field.cpp_type() == FieldDescriptor::CPPTYPE_UINT32 ||
             field.cpp_type() == FieldDescriptor::CPPTYPE_UINT64) {
    text = "from 0";
  }
  if (limits.has_max()) text += (text.empty() ? "to " : " to ") + number_text(limits.max());
  return text;
}

std::string type_text(const FieldDescriptor& field) {
  switch (field.cpp_type()) {
    case FieldDescriptor::CPPTYPE_BOOL:
      return "true or false";
    case FieldDescriptor::CPPTYPE_INT32:
    case FieldDescriptor::CPPTYPE_UINT32:
    case FieldDescriptor::CPPTYPE_INT64:
    case FieldDescriptor::CPPTYPE_UINT64:
      return "whole number";
    case FieldDescriptor::CPPTYPE_FLOAT:
    case FieldDescriptor::CPPTYPE_DOUBLE:
      return "number";
    case FieldDescriptor::CPPTYPE_ENUM:
      return fmt::format("one of {}", fmt::join(choices(*field.enum_type()), ", "));
    case FieldDescriptor::CPPTYPE_STRING:
      return rules_of(field).path() ? "path" : rules_of(field).name() ? "name" : "text";
    case FieldDescriptor::CPPTYPE_MESSAGE:
      return is_named_list(field) ? "tables with names" : field.is_repeated() ? "list of tables" : "table";
  }
  CSKD_CHECK(false, "type of {}", field.full_name());
}

// Which tables a value names, for people; empty for other keys.
std::string reference_text(const FieldDescriptor& field) {
  const std::vector<std::string> lists = referred_lists(field);
  if (lists.empty()) return "";
  if (lists.size() == 1) return fmt::format("NAME of [{}.NAME]", lists.front());
  return fmt::format("one of {}.NAME", fmt::join(lists, ".NAME, "));
}

// What holds when a key has neither a default nor to be given.
std::string implied_default(const FieldDescriptor& field) {
  if (field.is_repeated()) return "[]";
  switch (field.cpp_type()) {
    case FieldDescriptor::CPPTYPE_BOOL:
      return "false";
    case FieldDescriptor::CPPTYPE_STRING:
      return "\"\"";
    case FieldDescriptor::CPPTYPE_ENUM:
      return fmt::format("\"{}\"", field.default_value_enum()->name());
    case FieldDescriptor::CPPTYPE_FLOAT:
    case FieldDescriptor::CPPTYPE_DOUBLE:
      return "0.0";
    default:
      return "0";
  }
}

// `tables`: where each type of table was listed first.
void add_pages(const Descriptor& type, const std::string& path, const Comments& comments,
               std::map<const Descriptor*, std::string>& tables, std::vector<KeyPage>& pages) {
  for (int i = 0; i < type.field_count(); ++i) {
    const FieldDescriptor& field = *type.field(i);
    if (rules_of(field).table_name()) continue;
    KeyPage page;
    page.path = path.empty() ? field.name() : path + "." + field.name();
    page.type = type_text(field);
    page.effect = comments.of(field);
    page.is_table = field.message_type() != nullptr;
    if (page.is_table) {
      if (field.is_repeated()) page.path += is_named_list(field) ? ".NAME" : "[]";
      const auto [first, is_new] = tables.emplace(field.message_type(), page.path);
      if (!is_new) page.same_as = first->second;
      pages.push_back(page);
      if (is_new) add_pages(*field.message_type(), page.path, comments, tables, pages);
      continue;
    }
    const KeyRules& limits = rules_of(field);
    if (field.is_repeated()) page.type = "list: " + page.type;
    page.range = range_text(field);
    if (const std::string referred = reference_text(field); !referred.empty()) page.range = referred;
    if (limits.changeable()) page.effect += " May change while a run is resumed.";
    page.unit = limits.unit();
    page.default_value = limits.required() ? "required" : default_of(field);
    for (int v = 0; field.enum_type() != nullptr && v < field.enum_type()->value_count(); ++v) {
      const google::protobuf::EnumValueDescriptor& value = *field.enum_type()->value(v);
      page.choices.emplace_back(value.name(), comments.of(value));
    }
    pages.push_back(page);
  }
}

}  // namespace

std::string default_of(const FieldDescriptor& field) {
  const std::string& given = rules_of(field).default_();
  return given.empty() ? implied_default(field) : given;
}

const KeyRules& rules_of(const FieldDescriptor& field) { return field.options().GetExtension(rules); }

const FieldDescriptor* table_name_of(const Descriptor& type) {
  for (int i = 0; i < type.field_count(); ++i) {
    if (rules_of(*type.field(i)).table_name()) return type.field(i);
  }
  return nullptr;
}

bool is_named_list(const FieldDescriptor& field) {
  return field.is_repeated() && field.message_type() != nullptr && table_name_of(*field.message_type()) != nullptr;
}

std::vector<std::string> referred_lists(const FieldDescriptor& field) {
  std::istringstream words(rules_of(field).refers_to());
  std::vector<std::string> lists;
  for (std::string word; words >> word;) lists.push_back(word);
  return lists;
}

bool is_name(const std::string& text) {
  constexpr size_t kLongest = 64;
  const auto allowed = [](char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_' || c == '-'; };
  return !text.empty() && text.size() <= kLongest && std::all_of(text.begin(), text.end(), allowed);
}

IntegerRange integer_range(const FieldDescriptor& field) {
  IntegerRange range{kLowest, kHighest};
  switch (field.cpp_type()) {
    case FieldDescriptor::CPPTYPE_INT32:
      range = {std::numeric_limits<std::int32_t>::min(), std::numeric_limits<std::int32_t>::max()};
      break;
    case FieldDescriptor::CPPTYPE_UINT32:
      range = {0, std::numeric_limits<std::uint32_t>::max()};
      break;
    case FieldDescriptor::CPPTYPE_UINT64:
      range = {0, kHighest};
      break;
    default:
      break;
  }
  const KeyRules& limits = rules_of(field);
  if (limits.has_above()) range.low = std::max(range.low, static_cast<std::int64_t>(std::floor(limits.above())) + 1);
  if (limits.has_min()) range.low = std::max(range.low, static_cast<std::int64_t>(std::ceil(limits.min())));
  if (limits.has_max()) range.high = std::min(range.high, static_cast<std::int64_t>(std::floor(limits.max())));
  return range;
}

std::vector<std::string> choices(const google::protobuf::EnumDescriptor& type) {
  std::vector<std::string> names;
  names.reserve(static_cast<size_t>(type.value_count()));
  for (int i = 0; i < type.value_count(); ++i) names.push_back(type.value(i)->name());
  return names;
}

std::string expectation(const FieldDescriptor& field) {
  switch (field.cpp_type()) {
    case FieldDescriptor::CPPTYPE_INT32:
    case FieldDescriptor::CPPTYPE_UINT32:
    case FieldDescriptor::CPPTYPE_INT64:
    case FieldDescriptor::CPPTYPE_UINT64: {
      const IntegerRange range = integer_range(field);
      if (range.low == kLowest && range.high == kHighest) return "a whole number";
      if (range.high == kHighest) return fmt::format("a whole number from {}", range.low);
      return fmt::format("a whole number from {} to {}", range.low, range.high);
    }
    case FieldDescriptor::CPPTYPE_FLOAT:
    case FieldDescriptor::CPPTYPE_DOUBLE: {
      const std::string range = range_text(field);
      return range.empty() ? "a number" : "a number " + range;
    }
    case FieldDescriptor::CPPTYPE_ENUM: {
      std::vector<std::string> quoted;
      for (const std::string& name : choices(*field.enum_type())) quoted.push_back('"' + name + '"');
      if (quoted.size() == 1) return quoted.front();
      const std::string last = quoted.back();
      quoted.pop_back();
      return fmt::format("{} or {}", fmt::join(quoted, ", "), last);
    }
    case FieldDescriptor::CPPTYPE_STRING:
      if (rules_of(field).path()) return fmt::format("a path in quotes, of 1 to {} bytes", kLongestPath);
      if (rules_of(field).name()) return fmt::format("a name in quotes: {}", kNameRule);
      return "a text in quotes";
    case FieldDescriptor::CPPTYPE_BOOL:
      return "true or false";
    case FieldDescriptor::CPPTYPE_MESSAGE:
      return "a table";
  }
  CSKD_CHECK(false, "type of {}", field.full_name());
}

std::vector<KeyPage> key_pages() {
  const Comments comments;
  std::vector<KeyPage> pages;
  std::map<const Descriptor*, std::string> tables;
  add_pages(*Config::descriptor(), "", comments, tables, pages);
  return pages;
}

}  // namespace cskd::config
