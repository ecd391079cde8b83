// Plug-ins: encoders that are exported PyTorch programs instead of C++ classes. make_encoder() knows each by a name
// once it has been registered in this process.
#pragma once

#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include <ATen/core/Tensor.h>

#include "models/encoder_entry.h"
#include "models/plugin/plugin_description.h"
#include "models/plugin/plugin_file.h"

namespace cskd::models {

// Reads and checks a .pt2 file (launch/export_encoder.py, torch.export.save()) but for its weights. The result is the
// encoder's name: the plug-in's own and the first digits of the hash of all that determines what it computes but for
// its weights, "resnet18@5f0c3a91d2e4". `settings`: what is not to be as the file says. The same file again gives the
// same name. Thread-safe. Throws DataError that names the file, and UsageError where neither file nor settings say how
// pixels are normalised.
std::string register_plugin(const std::filesystem::path& path, const PluginDescription& settings = {});

// What a model file says of its encoder, so that it can be used without the .pt2 file.
struct StoredPlugin {
  std::string text;                             // program and description
  std::map<std::string, at::Tensor> constants;  // buffers that are no statistics, by name
};

// None for a native encoder.
std::optional<StoredPlugin> stored_plugin(const std::string& encoder);

// Shapes of a file's weights by name.
using WeightShapes = std::map<std::string, std::vector<std::int64_t>>;

// As register_plugin(), for a file with these weights. Throws DataError that begins with `origin`.
std::string register_stored_plugin(const StoredPlugin& stored, const WeightShapes& weights, const std::string& origin);

// Null for a name that nobody registered.
const EncoderEntry* find_plugin(const std::string& name);

// Runs a registered plug-in once, on two black images, with any weights; a second call does nothing. Throws DataError
// when it cannot be run, takes more than 8 GiB beside its weights, or gives other shapes than its file says. Not
// thread-safe.
void try_plugin(const std::string& name);

// The encoder's name for what a user gives as one: a .pt2 file, which is registered and tried, or a name, as it is.
// Throws as register_plugin() and try_plugin().
std::string encoder_named(const std::string& name_or_file);

// Facts of a registered plug-in for people.
struct PluginReport {
  PluginOutputs outputs;
  std::size_t calls = 0;  // of operators, in each forward pass
  std::int64_t parameters = 0;
  std::vector<std::string> unused;  // parameters and buffers of the model that its program does without
};
PluginReport plugin_report(const std::string& name);

}  // namespace cskd::models
