#include "config/reader.h"

#include <algorithm>

#include <fmt/format.h>

#include "config/document.h"
#include "config/message_reader.h"
#include "config/old_form.h"
#include "config/override.h"
#include "config/references.h"
#include "config/schema.h"
#include "config/toml_tree.h"
#include "runtime/error.h"

namespace cskd::config {
namespace {

using google::protobuf::FieldDescriptor;
using google::protobuf::Message;

constexpr size_t kMostProblems = 20;

// toml++ says "Error while parsing string: what is wrong".
std::string clearer(const std::string& description) {
  constexpr std::string_view kStart = "Error while parsing ";
  if (!description.starts_with(kStart)) return "no valid TOML: " + description;
  return "no valid TOML, in " + description.substr(kStart.size());
}

[[noreturn]] void throw_problems(std::vector<Problem> problems, const std::string& name,
                                 const std::vector<std::string>& overrides) {
  std::stable_sort(problems.begin(), problems.end(), [](const Problem& a, const Problem& b) {
    return std::pair(a.place.line, a.place.column) < std::pair(b.place.line, b.place.column);
  });
  std::string text;
  for (size_t i = 0; i < std::min(problems.size(), kMostProblems); ++i) {
    const Problem& problem = problems[i];
    const std::string where = is_override(problem.place)
                                  ? "--set " + overrides.at(static_cast<size_t>(problem.place.column))
                                  : fmt::format("{}:{}:{}", name, problem.place.line, problem.place.column);
    text += fmt::format("{}{}: {}", i == 0 ? "" : "\n", where, problem.text);
  }
  if (problems.size() > kMostProblems) text += fmt::format("\nand {} more", problems.size() - kMostProblems);
  throw runtime::UsageError(text);
}

// Relative values of path keys start at `folder`.
void make_paths_absolute(const std::filesystem::path& folder, Message& message) {
  const auto& access = *message.GetReflection();
  for (int i = 0; i < message.GetDescriptor()->field_count(); ++i) {
    const FieldDescriptor& field = *message.GetDescriptor()->field(i);
    if (field.message_type() != nullptr && field.is_repeated()) {
      for (int k = 0; k < access.FieldSize(message, &field); ++k) {
        make_paths_absolute(folder, *access.MutableRepeatedMessage(&message, &field, k));
      }
    } else if (field.message_type() != nullptr) {
      make_paths_absolute(folder, *access.MutableMessage(&message, &field));
    } else if (rules_of(field).path() && !field.is_repeated()) {
      const std::filesystem::path path = access.GetString(message, &field);
      if (!path.empty()) access.SetString(&message, &field, (folder / path).lexically_normal().native());
    }
  }
}

}  // namespace

Config parse_config(const std::string& document, const std::string& name, const std::filesystem::path& folder,
                    const std::vector<std::string>& overrides) {
  auto parsed = parse_toml(document);
  if (const auto* error = std::get_if<TomlError>(&parsed)) {
    throw_problems({{error->place, clearer(error->text)}}, name, overrides);
  }
  auto& root = std::get<TomlTable>(parsed);
  std::vector<Problem> problems;
  for (size_t i = 0; i < overrides.size(); ++i) {
    apply_override(overrides[i], static_cast<int>(i), *Config::descriptor(), std::filesystem::current_path(), root,
                   problems);
  }
  if (root.empty() && problems.empty()) {
    throw runtime::UsageError(
        fmt::format("{}: is empty; a configuration has at least a table [run] with a folder (cskd config --help-all "
                    "lists the keys)",
                    name));
  }
  Config config;
  refuse_old_form(root, name);
  MessageReader reader(problems);
  reader.read(root, {1, 1}, "", config);
  check_references(config, reader.places_of_references(), problems);
  if (!problems.empty()) throw_problems(std::move(problems), name, overrides);
  make_paths_absolute(std::filesystem::absolute(folder.empty() ? "." : folder), config);
  return config;
}

Config load_config(const std::filesystem::path& path, const std::vector<std::string>& overrides) {
  return parse_config(read_document(path), path.native(), path.parent_path(), overrides);
}

}  // namespace cskd::config
