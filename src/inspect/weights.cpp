#include "inspect/weights.h"

#include <algorithm>
#include <cstdint>
#include <exception>
#include <map>
#include <numeric>
#include <optional>
#include <vector>

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <nlohmann/json.hpp>
#include <torch/types.h>

#include "models/encoder_registry.h"
#include "models/plugin/plugin.h"
#include "models/safetensors_header.h"
#include "models/weights/encoder_weights.h"
#include "models/weights/weight_file.h"
#include "runtime/error.h"
#include "runtime/free_space.h"
#include "runtime/terminal.h"

namespace cskd::inspect {
namespace {

using Json = nlohmann::ordered_json;

struct Contents {
  std::uint64_t bytes = 0;
  std::uint64_t numbers = 0;
  std::map<std::string, std::size_t> types;  // tensors of each
  std::vector<std::string> not_finite;       // names of tensors
};

Contents contents_of(const models::WeightFile& file, bool verify) {
  Contents contents;
  for (const std::filesystem::path& path : file.files()) contents.bytes += std::filesystem::file_size(path);
  for (const auto& [name, info] : file.tensors()) {
    contents.numbers += std::accumulate(info.shape.begin(), info.shape.end(), std::uint64_t{1}, std::multiplies<>());
    ++contents.types[std::string(models::name_of_type(info.type))];
    if (!verify || !c10::isFloatingType(info.type)) continue;
    const at::Tensor tensor = at::empty(info.shape, at::TensorOptions(info.type));
    file.read(name, 0, {static_cast<std::byte*>(tensor.mutable_data_ptr()), tensor.nbytes()});
    if (!tensor.isfinite().all().item<bool>()) contents.not_finite.push_back(name);
  }
  return contents;
}

std::string shape_text(const models::EncoderShape& shape) {
  return fmt::format("{0} x {0} pixels, mean {1:.4g}, standard deviation {2:.4g}", shape.image_size,
                     fmt::join(shape.mean, " "), fmt::join(shape.stddev, " "));
}

// Names are the file's: they may hold anything.
std::string listed(const std::vector<std::string>& names) {
  constexpr std::size_t kMost = 5;
  std::string text;
  for (std::size_t i = 0; i < std::min(names.size(), kMost); ++i)
    text += fmt::format("{}{}", i == 0 ? "" : ", ", runtime::printable(names[i]));
  return names.size() > kMost ? fmt::format("{} and {} more", text, names.size() - kMost) : text;
}

std::string what_it_holds(const models::WeightFile& file, const std::vector<models::RecognisedEncoder>& encoders) {
  if (const auto format = file.metadata().find("format");
      format != file.metadata().end() && format->second == "cskd-model") {
    const auto field = [&](const char* key) {
      const auto found = file.metadata().find(key);
      return found == file.metadata().end() ? "?" : runtime::printable(found->second);
    };
    return fmt::format("  holds          the model of {}: {} at {} pixels, {} outputs\n", field("stage"),
                       field("encoder"), field("image_size"), field("outputs"));
  }
  if (encoders.empty()) {
    std::vector<std::string> names;
    for (const auto& [name, info] : file.tensors()) names.push_back(name);
    return fmt::format("  holds          no encoder that cskd knows: {}\n", listed(names));
  }
  std::string text;
  for (const models::RecognisedEncoder& each : encoders) {
    const models::EncoderShape shape = models::encoder_shape(each.name);
    const std::string& licence = models::encoder_entry(each.name).licence;
    text += fmt::format("  {}          {}\n", text.empty() ? "holds" : "or   ", models::sentence(each.report, shape));
    text += fmt::format("  images         {}\n  features       {} pooled; {} x {} tokens of {}\n", shape_text(shape),
                        shape.pooled_width, shape.grid, shape.grid, shape.token_width);
    if (!licence.empty()) text += fmt::format("  licence        {}, of the published weights\n", licence);
  }
  if (encoders.size() > 1) {
    text +=
        "  note           these have the same tensors: where the file comes from tells which one it is, as an "
        "activation is not in a file\n";
  }
  return text;
}

std::string to_text(const models::WeightFile& file, const std::string& holdings, const Contents& contents,
                    bool verify) {
  std::string text = fmt::format("{}   {} in {} {}\n\n", file.path().native(), runtime::format_bytes(contents.bytes),
                                 file.files().size(), file.files().size() == 1 ? "file" : "files");
  text += holdings;
  std::vector<std::string> types;
  for (const auto& [type, count] : contents.types) types.push_back(fmt::format("{} {}", count, type));
  text += fmt::format("  tensors        {} ({}), {} numbers\n", file.tensors().size(), fmt::join(types, ", "),
                      fmt::group_digits(contents.numbers));
  for (const auto& [key, value] : file.metadata()) {
    // A plug-in's program is one of them.
    constexpr std::size_t kMostShown = 400;
    const std::string shown =
        value.size() <= kMostShown ? runtime::printable(value) : fmt::format("({} characters)", value.size());
    text += fmt::format("  metadata       {} = {}\n", runtime::printable(key), shown);
  }
  if (!verify) return text + "  values         not read; --verify looks for NaN and infinity\n";
  if (contents.not_finite.empty()) return text + "  values         all are finite\n";
  return text + fmt::format("  values         NaN or infinite in {} tensors: {}\n", contents.not_finite.size(),
                            listed(contents.not_finite));
}

Json to_json(const models::WeightFile& file, const std::vector<models::RecognisedEncoder>& encoders,
             const Contents& contents, bool verify) {
  Json document{{"path", file.path().native()},     {"bytes", contents.bytes},  {"files", file.files().size()},
                {"tensors", file.tensors().size()}, {"types", contents.types},  {"numbers", contents.numbers},
                {"metadata", file.metadata()},      {"encoders", Json::array()}};
  for (const models::RecognisedEncoder& each : encoders) {
    document["encoders"].push_back({{"name", each.name},
                                    {"layout", each.report.layout},
                                    {"tensors_used", each.report.used},
                                    {"left_out", each.report.left_out},
                                    {"resampled", each.report.resampled},
                                    {"licence", models::encoder_entry(each.name).licence}});
  }
  if (verify) document["not_finite"] = contents.not_finite;
  return document;
}

}  // namespace

bool is_weight_file(const std::filesystem::path& path) {
  return path.native().ends_with(".safetensors") || path.native().ends_with(".safetensors.index.json") ||
         path.native().ends_with(models::kPluginEnding);
}

namespace {

struct Plugin {
  models::EncoderShape shape;
  models::PluginReport report;
  bool is_normalised = false;  // the file says how
};

// Registers it, and runs it once.
Plugin plugin_in(const std::filesystem::path& path) {
  Plugin plugin;
  plugin.is_normalised =
      models::read_description(models::PluginFile(path).description(), path.native()).normalisation.has_value();
  models::PluginDescription settings;
  if (!plugin.is_normalised) settings.normalisation = models::kUnitNormalisation;
  const std::string name = models::register_plugin(path, settings);
  try {
    models::try_plugin(name);
  } catch (const std::exception&) {
    runtime::rethrow_with_context(fmt::format("{} cannot be used", path.native()));
  }
  plugin.shape = models::encoder_shape(name);
  plugin.report = models::plugin_report(name);
  return plugin;
}

std::string to_text(const Plugin& plugin, const std::vector<models::RecognisedEncoder>& encoders) {
  const models::PluginReport& report = plugin.report;
  const std::string& licence = models::encoder_entry(plugin.shape.name).licence;
  std::string text = fmt::format("  holds          the plug-in {}: {} operators, {} parameters\n", plugin.shape.name,
                                 report.calls, fmt::group_digits(report.parameters));
  text += plugin.is_normalised ? fmt::format("  images         {}\n", shape_text(plugin.shape))
                               : fmt::format(
                                     "  images         {0} x {0} pixels; it does not say how they are normalised: set "
                                     "plugin_facts.mean and stddev\n",
                                     plugin.shape.image_size);
  text += fmt::format("  features       {}\n", models::sentence(report.outputs));
  if (!report.unused.empty()) text += fmt::format("  not used       {}\n", listed(report.unused));
  if (!licence.empty()) text += fmt::format("  licence        {}\n", runtime::printable(licence));
  for (const models::RecognisedEncoder& each : encoders)
    text += fmt::format("  note           cskd has an encoder '{}' of its own that takes these weights\n", each.name);
  return text;
}

Json to_json(const Plugin& plugin) {
  const models::PluginOutputs& outputs = plugin.report.outputs;
  const auto number = [](const std::optional<int>& value) { return value ? Json(*value) : Json(nullptr); };
  return {{"name", plugin.shape.name},
          {"image_size", plugin.shape.image_size},
          {"mean", plugin.is_normalised ? Json(plugin.shape.mean) : Json(nullptr)},
          {"stddev", plugin.is_normalised ? Json(plugin.shape.stddev) : Json(nullptr)},
          {"pooled_output", number(outputs.pooled)},
          {"token_output", number(outputs.tokens)},
          {"skipped_tokens", outputs.skipped_tokens},
          {"pooled_width", outputs.pooled_width},
          {"token_width", outputs.token_width},
          {"grid", outputs.grid},
          {"calls", plugin.report.calls},
          {"parameters", plugin.report.parameters},
          {"unused", plugin.report.unused},
          {"licence", models::encoder_entry(plugin.shape.name).licence}};
}

}  // namespace

WeightFileReport report_on_weights(const std::filesystem::path& path, bool verify, bool json) {
  const models::WeightFile file(path);
  std::optional<Plugin> plugin;
  if (path.native().ends_with(models::kPluginEnding)) plugin = plugin_in(path);
  if (verify) file.verify();
  const Contents contents = contents_of(file, verify);
  const std::vector<models::RecognisedEncoder> encoders = models::recognise_encoders(file);
  WeightFileReport report{.text = {}, .is_finite = contents.not_finite.empty()};
  if (json) {
    Json document = to_json(file, encoders, contents, verify);
    if (plugin) document["plugin"] = to_json(*plugin);
    report.text = document.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
  } else {
    report.text = to_text(file, plugin ? to_text(*plugin, encoders) : what_it_holds(file, encoders), contents, verify);
  }
  return report;
}

}  // namespace cskd::inspect
