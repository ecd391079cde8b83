#include "models/plugin/plugin.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <memory>
#include <mutex>
#include <utility>

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <nlohmann/json.hpp>
#include <torch/types.h>

#include "models/construction.h"
#include "models/plugin/json_reader.h"
#include "models/plugin/memory_limit.h"
#include "models/plugin/plugin_encoder.h"
#include "models/plugin/prepared_program.h"
#include "models/plugin/program_reader.h"
#include "models/safetensors.h"
#include "runtime/content_hash.h"
#include "runtime/error.h"

namespace cskd::models {
namespace {

constexpr std::size_t kDigits = 12;  // of a hash in a name
constexpr int kDepths = 12;          // groups of parameters for rates that fall with depth
// What two images may take in a trial, beside the weights. A hostile program must not be able to fill a machine.
constexpr std::uint64_t kTrialBytes = std::uint64_t{8} << 30;

struct Plugin {
  EncoderEntry entry;
  StoredPlugin stored;
  PluginReport report;
  std::uint64_t weight_bytes = 0;  // of parameters and buffers
  bool was_tried = false;
};

// Note [Registered plug-ins]
// Encoders are known by name all over the program: in configurations, provenance, model files. A plug-in joins them
// by a name that contains a hash of its program, so that a name means one program wherever it is read. Plug-ins are
// only ever added; entries stay where they are.
struct Registry {
  std::mutex mutex;
  std::map<std::string, std::unique_ptr<Plugin>> plugins;
};
Registry& registry() {
  static Registry all;
  return all;
}

std::string hash_of(const std::string& text, const std::map<std::string, at::Tensor>& constants) {
  runtime::ContentHasher hasher;
  hasher.add_field(text);
  for (const auto& [name, tensor] : constants) {
    hasher.add_field(name);
    hasher.add_field(fmt::format("{} {}", name_of_type(tensor.scalar_type()), fmt::join(tensor.sizes(), " ")));
    const at::Tensor bytes = tensor.contiguous();
    hasher.add_field({static_cast<const char*>(bytes.const_data_ptr()), bytes.nbytes()});
  }
  return hasher.hash().hex().substr(0, kDigits);
}

// Groups of parameters by the depth at which a program first uses them, from the image on: as many of these depths in
// each of kDepths groups.
std::map<std::string, int> depths_of(const PreparedProgram& program) {
  std::map<Value, std::string> name_of;
  for (const Input& input : program.inputs)
    if (input.kind == InputKind::kParameter) name_of[input.value] = input.name;
  std::vector<std::vector<std::string>> uses;
  std::map<std::string, bool> seen;
  for (const Call& call : program.calls) {
    std::vector<std::string> names;
    for (const Value value : read_values(call)) {
      const auto found = name_of.find(value);
      if (found != name_of.end() && !std::exchange(seen[found->second], true)) names.push_back(found->second);
    }
    if (!names.empty()) uses.push_back(std::move(names));
  }
  std::map<std::string, int> depths;
  for (std::size_t i = 0; i < uses.size(); ++i)
    for (const std::string& name : uses[i])
      depths[name] = static_cast<int>(i * static_cast<std::size_t>(kDepths) / uses.size());
  return depths;
}

// Class tokens, registers and positions, which do not decay, as timm's models name them.
std::vector<std::string> embeddings_of(const PreparedProgram& program) {
  constexpr std::array<std::string_view, 9> kNames{"pos_embed",
                                                   "cls_token",
                                                   "reg_token",
                                                   "dist_token",
                                                   "class_token",
                                                   "class_embedding",
                                                   "position_embedding",
                                                   "positional_embedding",
                                                   "relative_position_bias_table"};
  std::vector<std::string> names;
  for (const Input& input : program.inputs) {
    const std::string last = input.name.substr(input.name.rfind('.') + 1);
    if (input.kind == InputKind::kParameter && std::ranges::find(kNames, last) != kNames.end())
      names.push_back(input.name);
  }
  return names;
}

// A regular expression that matches this text alone.
std::string literal(const std::string& text) {
  std::string pattern;
  for (const char c : text) {
    if (std::string_view("^$\\.*+?()[]{}|").find(c) != std::string_view::npos) pattern += '\\';
    pattern += c;
  }
  return pattern;
}

// What a program says of its parameters must be what its file holds: memory is taken for the former.
void require_weights(const PreparedProgram& program, const WeightShapes& weights, const std::string& origin) {
  for (const Input& input : program.inputs) {
    if (input.kind != InputKind::kParameter) continue;
    const auto found = weights.find(input.name);
    if (found == weights.end())
      throw runtime::DataError(fmt::format("{} lacks the weights of {}", origin, shown(input.name)));
    if (found->second != input.shape) {
      throw runtime::DataError(fmt::format("{}: {} has the shape [{}], where its program takes [{}]", origin,
                                           shown(input.name), fmt::join(found->second, ", "),
                                           fmt::join(input.shape, ", ")));
    }
  }
}

int side_of(const PreparedProgram& program) {
  return static_cast<int>(std::ranges::find(program.inputs, InputKind::kImages, &Input::kind)->shape.back());
}

// REQUIRES: the description says how pixels are normalised
std::unique_ptr<Plugin> make_plugin(const std::string& program_text, const PluginDescription& description,
                                    std::map<std::string, at::Tensor> constants, const WeightShapes& weights,
                                    const std::string& origin) {
  const PreparedProgram program = prepare_program(read_program(program_text, origin), origin);
  require_weights(program, weights, origin);
  std::erase_if(constants, [&](const auto& item) {
    return std::ranges::none_of(program.inputs, [&](const Input& input) { return input.name == item.first; });
  });
  auto plugin = std::make_unique<Plugin>();
  plugin->stored = {.text = nlohmann::json{{"description", nlohmann::json::parse(text_of(description))},
                                           {"program", nlohmann::json::parse(program_text)}}
                                .dump(),
                    .constants = constants};
  const int side = side_of(program);
  EncoderEntry& entry = plugin->entry;
  entry.name = fmt::format("{}@{}", description.name, hash_of(plugin->stored.text, constants));
  const PluginOutputs outputs = find_outputs(program.output_shapes, description, origin);
  entry.image_size = side;
  entry.fixed_grid = outputs.grid;
  entry.normalisation = *description.normalisation;
  entry.pooled_width = outputs.pooled_width;
  entry.token_width = outputs.token_width;
  entry.parameters = {.embeddings = embeddings_of(program), .depths = depths_of(program)};
  entry.normalises_batches = !program.statistics.empty();
  entry.home = "plug-in";
  for (const std::string& name : program.unused)
    entry.left_out.push_back({literal(name), "parts that its program does without"});
  entry.licence = description.licence;
  entry.has_drop_path = false;
  entry.make = [program, constants, outputs, origin](const EncoderShape& wanted) {
    return std::make_shared<PluginEncoder>(wanted, program, constants, outputs, origin);
  };
  plugin->report = {.outputs = outputs, .calls = program.calls.size(), .unused = program.unused};
  // PyTorch counts batches, and no forward pass reads the count.
  std::erase_if(plugin->report.unused, [](const std::string& name) { return is_statistic(name); });
  for (const Input& input : program.inputs) {
    if (input.kind == InputKind::kImages) continue;
    const std::int64_t numbers = c10::multiply_integers(input.shape);
    plugin->weight_bytes += static_cast<std::uint64_t>(numbers) * c10::elementSize(input.type);
    if (input.kind == InputKind::kParameter) plugin->report.parameters += numbers;
  }
  return plugin;
}

std::string add(std::unique_ptr<Plugin> plugin) {
  const std::lock_guard lock(registry().mutex);
  const std::string name = plugin->entry.name;
  registry().plugins.emplace(name, std::move(plugin));
  return name;
}

Plugin* find(const std::string& name) {
  const std::lock_guard lock(registry().mutex);
  const auto found = registry().plugins.find(name);
  return found == registry().plugins.end() ? nullptr : found->second.get();
}

}  // namespace

std::string register_plugin(const std::filesystem::path& path, const PluginDescription& settings) {
  const std::string& origin = path.native();
  const PluginFile file(path);
  PluginDescription description = merged(settings, read_description(file.description(), origin));
  if (!description.normalisation) {
    throw runtime::UsageError(fmt::format(
        "{} does not say how pixels are normalised: set plugin_facts.mean and plugin_facts.stddev, as they were in "
        "the model's training",
        origin));
  }
  if (description.name.empty()) description.name = "plugin";
  const std::string text = shortened_program(file.program(), origin);
  std::map<std::string, at::Tensor> constants;
  for (const auto& [name, info] : file.constants()) {
    const std::vector<std::byte> bytes = file.read(info);
    at::Tensor& tensor = constants[name] = at::empty(info.shape, info.type);
    if (!bytes.empty()) std::memcpy(tensor.mutable_data_ptr(), bytes.data(), bytes.size());
    // A mask may hold infinities.
    if (at::isFloatingType(info.type) && tensor.isnan().any().item<bool>())
      throw runtime::DataError(fmt::format("{}: buffer {} holds NaN", origin, shown(name)));
  }
  WeightShapes weights;
  for (const auto& [name, info] : file.weights()) weights.emplace(name, info.shape);
  return add(make_plugin(text, description, std::move(constants), weights, origin));
}

std::optional<StoredPlugin> stored_plugin(const std::string& encoder) {
  const Plugin* const plugin = find(encoder);
  if (plugin == nullptr) return std::nullopt;
  return plugin->stored;
}

std::string register_stored_plugin(const StoredPlugin& stored, const WeightShapes& weights, const std::string& origin) {
  const JsonReader json(fmt::format("{}: its plug-in", origin));
  const nlohmann::json document = json.parse(stored.text);
  const PluginDescription description = read_description(json.field(document, "description").dump(), origin);
  if (!description.normalisation) json.fail("it does not say how pixels are normalised");
  const std::string program = json.field(document, "program").dump();
  return add(make_plugin(program, description, stored.constants, weights, origin));
}

const EncoderEntry* find_plugin(const std::string& name) {
  const Plugin* const plugin = find(name);
  return plugin == nullptr ? nullptr : &plugin->entry;
}

void try_plugin(const std::string& name) {
  Plugin& plugin = *find(name);
  if (plugin.was_tried) return;
  const EncoderShape shape = encoder_shape(name);
  const torch::NoGradGuard no_gradients;
  try {
    const MemoryLimit limit(plugin.weight_bytes + kTrialBytes);
    const auto encoder = make_encoder(name);
    encoder->eval();
    encoder->forward(torch::zeros({2, 3, shape.image_size, shape.image_size}));
  } catch (const c10::Error& error) {
    const std::string reason = error.what_without_backtrace();
    throw runtime::DataError(
        fmt::format("the program of {} cannot be run: {}", name, reason.substr(0, reason.find('\n'))));
  }
  plugin.was_tried = true;
}

std::string encoder_named(const std::string& name_or_file) {
  if (!name_or_file.ends_with(kPluginEnding)) return name_or_file;
  const std::string name = register_plugin(name_or_file);
  try_plugin(name);
  return name;
}

PluginReport plugin_report(const std::string& name) { return find(name)->report; }

}  // namespace cskd::models
