#include "config/toml_writer.h"

#include <vector>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "config/schema.h"
#include "runtime/check.h"

namespace cskd::config {
namespace {

using google::protobuf::FieldDescriptor;
using google::protobuf::Message;

// The shortest digits that read back as the same number, with the point that makes it a TOML float.
template <typename T>
std::string real(T number) {
  const std::string text = fmt::format("{}", number);
  return text.find_first_of(".en") == std::string::npos ? text + ".0" : text;
}

// The value of a field, or of its element `index` when it is a list (index >= 0).
std::string scalar(const Message& message, const FieldDescriptor& field, int index) {
  const auto& access = *message.GetReflection();
  const bool one = index < 0;
  switch (field.cpp_type()) {
    case FieldDescriptor::CPPTYPE_BOOL:
      return (one ? access.GetBool(message, &field) : access.GetRepeatedBool(message, &field, index)) ? "true"
                                                                                                      : "false";
    case FieldDescriptor::CPPTYPE_INT32:
      return std::to_string(one ? access.GetInt32(message, &field) : access.GetRepeatedInt32(message, &field, index));
    case FieldDescriptor::CPPTYPE_INT64:
      return std::to_string(one ? access.GetInt64(message, &field) : access.GetRepeatedInt64(message, &field, index));
    case FieldDescriptor::CPPTYPE_UINT32:
      return std::to_string(one ? access.GetUInt32(message, &field) : access.GetRepeatedUInt32(message, &field, index));
    case FieldDescriptor::CPPTYPE_UINT64:
      return std::to_string(one ? access.GetUInt64(message, &field) : access.GetRepeatedUInt64(message, &field, index));
    case FieldDescriptor::CPPTYPE_FLOAT:
      return real(one ? access.GetFloat(message, &field) : access.GetRepeatedFloat(message, &field, index));
    case FieldDescriptor::CPPTYPE_DOUBLE:
      return real(one ? access.GetDouble(message, &field) : access.GetRepeatedDouble(message, &field, index));
    case FieldDescriptor::CPPTYPE_STRING:
      return quoted(one ? access.GetString(message, &field) : access.GetRepeatedString(message, &field, index));
    case FieldDescriptor::CPPTYPE_ENUM:
      return quoted((one ? access.GetEnum(message, &field) : access.GetRepeatedEnum(message, &field, index))->name());
    case FieldDescriptor::CPPTYPE_MESSAGE:
      break;
  }
  CSKD_CHECK(false, "{} is a table", field.full_name());
}

std::string join(const std::string& path, const std::string& name) { return path.empty() ? name : path + "." + name; }

// Of an element of a list of tables with names.
std::string name_of(const Message& table) {
  return table.GetReflection()->GetString(table, table_name_of(*table.GetDescriptor()));
}

// The value of a key that is no table.
std::string value_of(const Message& message, const FieldDescriptor& field) {
  if (!field.is_repeated()) return scalar(message, field, -1);
  std::vector<std::string> elements;
  const int size = message.GetReflection()->FieldSize(message, &field);
  elements.reserve(static_cast<size_t>(size));
  for (int k = 0; k < size; ++k) elements.push_back(scalar(message, field, k));
  return fmt::format("[{}]", fmt::join(elements, ", "));
}

// Keys come before tables, since in TOML whatever follows a header belongs to it.
void write_table(const Message& message, const std::string& path, std::string& text) {
  const auto& access = *message.GetReflection();
  std::vector<const FieldDescriptor*> tables;
  for (int i = 0; i < message.GetDescriptor()->field_count(); ++i) {
    const FieldDescriptor& field = *message.GetDescriptor()->field(i);
    if (rules_of(field).table_name()) continue;
    if (field.message_type() != nullptr) {
      tables.push_back(&field);
    } else if (field.is_repeated() && rules_of(field).most() > 0 && access.FieldSize(message, &field) == 0) {
      // It was not given, and could not be given so.
    } else {
      text += fmt::format("{} = {}\n", field.name(), value_of(message, field));
    }
  }
  for (const FieldDescriptor* field : tables) {
    const std::string inner = join(path, field->name());
    if (!field->is_repeated()) {
      text += fmt::format("{}[{}]\n", text.empty() ? "" : "\n", inner);
      write_table(access.GetMessage(message, field), inner, text);
      continue;
    }
    for (int k = 0; k < access.FieldSize(message, field); ++k) {
      const Message& element = access.GetRepeatedMessage(message, field, k);
      const bool is_named = is_named_list(*field);
      const std::string header = is_named ? join(inner, name_of(element)) : inner;
      text += fmt::format("{}{}{}{}\n", text.empty() ? "" : "\n", is_named ? "[" : "[[", header, is_named ? "]" : "]]");
      write_table(element, header, text);
    }
  }
}

void add_settings(const Message& message, const std::string& path, Keys keys,
                  std::vector<std::pair<std::string, std::string>>& settings) {
  const auto& access = *message.GetReflection();
  for (int i = 0; i < message.GetDescriptor()->field_count(); ++i) {
    const FieldDescriptor& field = *message.GetDescriptor()->field(i);
    if (rules_of(field).table_name() || (keys == Keys::kDecisive && rules_of(field).changeable())) continue;
    const std::string inner = join(path, field.name());
    if (field.message_type() == nullptr) {
      if (keys == Keys::kDecisive && rules_of(field).came_later() && value_of(message, field) == default_of(field))
        continue;
      settings.emplace_back(inner, value_of(message, field));
    } else if (!field.is_repeated()) {
      add_settings(access.GetMessage(message, &field), inner, keys, settings);
    } else {
      for (int k = 0; k < access.FieldSize(message, &field); ++k) {
        const Message& element = access.GetRepeatedMessage(message, &field, k);
        add_settings(element, is_named_list(field) ? join(inner, name_of(element)) : fmt::format("{}[{}]", inner, k),
                     keys, settings);
      }
    }
  }
}

}  // namespace

std::string to_toml(const TomlValue& value) {
  if (const auto* array = std::get_if<TomlArray>(&value.value)) {
    std::vector<std::string> elements;
    for (const TomlValue& element : *array) elements.push_back(to_toml(element));
    return fmt::format("[{}]", fmt::join(elements, ", "));
  }
  const auto* text = std::get_if<std::string>(&value.value);
  return text == nullptr ? describe(value) : quoted(*text);
}

std::string quoted(const std::string& text) {
  std::string result = "\"";
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (c == '"' || c == '\\') {
      result += '\\';
      result += c;
    } else if (byte < 0x20 || byte == 0x7F) {
      result += fmt::format("\\u{:04X}", byte);
    } else {
      result += c;
    }
  }
  return result + '"';
}

std::vector<std::pair<std::string, std::string>> settings_of(const Message& message, const std::string& path,
                                                             Keys keys) {
  std::vector<std::pair<std::string, std::string>> settings;
  add_settings(message, path, keys, settings);
  return settings;
}

std::string to_toml(const Message& message) {
  std::string text;
  write_table(message, "", text);
  return text;
}

}  // namespace cskd::config
