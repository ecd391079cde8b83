#include "models/model_file.h"

#include <string_view>

#include <fmt/format.h>

#include "models/plugin/plugin.h"
#include "models/safetensors.h"
#include "models/safetensors_header.h"
#include "runtime/error.h"

namespace cskd::models {
namespace {

constexpr const char* kFormat = "cskd-model";
// Of a head that does not see features as they come.
constexpr const char* kHeadInput = "head_input";
constexpr const char* kWhitened = "whitened";
// Key of a plug-in's program, and what its constants' names begin with.
constexpr const char* kPlugin = "plugin";
constexpr std::string_view kPluginPrefix = "plugin.";

// Plug-ins are known by a hash of what they compute: another name was written by another version, or the file is not
// what was written.
void register_plugin_of(StoredModel& model) {
  StoredPlugin plugin{.text = model.metadata.at(kPlugin), .constants = {}};
  for (auto at = model.tensors.begin(); at != model.tensors.end();) {
    if (!at->first.starts_with(kPluginPrefix)) {
      ++at;
      continue;
    }
    plugin.constants[at->first.substr(kPluginPrefix.size())] = at->second;
    at = model.tensors.erase(at);
  }
  WeightShapes weights;
  for (const auto& [name, tensor] : model.tensors) weights.emplace(name, tensor.sizes().vec());
  const std::string name = register_stored_plugin(plugin, weights, model.path.native());
  if (name != model.encoder) {
    throw runtime::DataError(
        fmt::format("{} says that its plug-in is '{}', but it holds '{}'", model.path.native(), model.encoder, name));
  }
  try {
    try_plugin(name);
  } catch (const std::exception&) {
    runtime::rethrow_with_context(fmt::format("{} cannot be used", model.path.native()));
  }
}

}  // namespace

StoredModel read_model(const std::filesystem::path& path) {
  const std::string& name = path.native();
  StoredModel stored{.path = path, .metadata = read_safetensors_header(path).metadata};
  const auto field = [&](const char* key) {
    const auto found = stored.metadata.find(key);
    if (found == stored.metadata.end())
      throw runtime::DataError(fmt::format("{} lacks '{}' in its metadata", name, key));
    return found->second;
  };
  const auto number = [&](const char* key) {
    const std::string text = field(key);
    if (text.empty() || text.size() > 6 || text.find_first_not_of("0123456789") != std::string::npos) {
      throw runtime::DataError(
          fmt::format("{}: '{}' of its metadata is '{}', expected a whole number", name, key, text));
    }
    return std::stoi(text);
  };
  stored.encoder = field("encoder");
  stored.image_size = number("image_size");
  stored.outputs = number("outputs");
  stored.whitens = stored.metadata.contains(kHeadInput);
  if (stored.whitens && field(kHeadInput) != std::string(kWhitened)) {
    throw runtime::DataError(
        fmt::format("{}: '{}' of its metadata is '{}', expected '{}'", name, kHeadInput, field(kHeadInput), kWhitened));
  }
  stored.tensors = read_safetensors(path);
  if (stored.metadata.contains(kPlugin)) register_plugin_of(stored);
  return stored;
}

std::map<std::string, std::string> model_metadata(const HeadedEncoder& model, const std::string& stage,
                                                  std::int64_t outputs) {
  std::map<std::string, std::string> metadata{{"format", kFormat},
                                              {"stage", stage},
                                              {"encoder", model.shape().name},
                                              {"image_size", std::to_string(model.shape().image_size)},
                                              {"outputs", std::to_string(outputs)}};
  if (model.whitens_features()) metadata.emplace(kHeadInput, kWhitened);
  return metadata;
}

runtime::FileFacts write_model(const std::filesystem::path& path,
                               std::vector<std::pair<std::string, at::Tensor>> tensors,
                               std::map<std::string, std::string> metadata) {
  if (const auto plugin = stored_plugin(metadata.at("encoder"))) {
    metadata[kPlugin] = plugin->text;
    for (const auto& [name, tensor] : plugin->constants)
      tensors.emplace_back(std::string(kPluginPrefix) + name, tensor);
  }
  return write_safetensors(path, tensors, metadata);
}

}  // namespace cskd::models
