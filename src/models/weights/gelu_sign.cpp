#include "models/weights/gelu_sign.h"

#include <algorithm>
#include <array>
#include <filesystem>
#include <string_view>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "runtime/error.h"
#include "runtime/input_file.h"

namespace cskd::models {
namespace {

using Json = nlohmann::json;

constexpr std::array<std::string_view, 3> kOpenAiSizes{"input_resolution", "context_length", "vocab_size"};
// Of timm's vit_*_clip_*, as open_clip 3.3 lists them.
constexpr std::array<std::string_view, 5> kQuickTags{"openai", "metaclip_400m", "metaclip_2pt5b", "dfn2b", "dfn5b"};

// The JSON object in a file beside the weights, null if there is none. Nobody asked for that file: a fault in it is no
// error.
Json object_in(const std::filesystem::path& path) {
  constexpr std::uint64_t kLargest = 1 << 20;
  std::error_code none;
  if (!std::filesystem::is_regular_file(path, none)) return {};
  try {
    Json object = Json::parse(runtime::read_text_file(path, kLargest), nullptr, /*allow_exceptions=*/false);
    return object.is_object() ? object : Json();
  } catch (const runtime::Error&) {
    return {};
  }
}

std::string text_of(const Json& object, const char* key) {
  return object.is_object() && object.contains(key) && object[key].is_string() ? object[key].get<std::string>() : "";
}

std::optional<GeluSign> sign_of_transformers(const Json& config, const std::filesystem::path& path) {
  const std::string type = text_of(config, "model_type");
  if (type != "clip" && type != "clip_vision_model") return std::nullopt;
  const Json& vision = config.contains("vision_config") ? config["vision_config"] : config;
  const std::string activation = text_of(vision, "hidden_act");
  if (activation.empty()) return GeluSign{true, fmt::format("{} leaves hidden_act at quick_gelu", path.native())};
  if (activation != "quick_gelu" && activation != "gelu") return std::nullopt;
  return GeluSign{activation == "quick_gelu", fmt::format("{} says hidden_act is {}", path.native(), activation)};
}

std::optional<GeluSign> sign_of_timm(const Json& config, const std::filesystem::path& path) {
  const std::string architecture = text_of(config, "architecture");
  if (architecture.find("_clip_") == std::string::npos) return std::nullopt;
  const std::string tag = config.contains("pretrained_cfg") ? text_of(config["pretrained_cfg"], "tag") : "";
  const bool is_quick =
      architecture.find("quickgelu") != std::string::npos || std::ranges::find(kQuickTags, tag) != kQuickTags.end();
  // Other tags are left open: timm's own fine-tuning has changed activations.
  if (!is_quick) return std::nullopt;
  return GeluSign{true,
                  fmt::format("{} says they are {}{}{}", path.native(), architecture, tag.empty() ? "" : ".", tag)};
}

std::optional<GeluSign> sign_of_open_clip(const Json& config, const std::filesystem::path& path) {
  if (!config.contains("model_cfg") || !config["model_cfg"].is_object()) return std::nullopt;
  const Json& model = config["model_cfg"];
  const bool is_quick = model.contains("quick_gelu") && model["quick_gelu"] == true;
  return GeluSign{is_quick, fmt::format("{} {} quick_gelu", path.native(), is_quick ? "sets" : "does not set")};
}

}  // namespace

std::optional<GeluSign> gelu_sign(const WeightFile& file) {
  if (std::ranges::all_of(kOpenAiSizes,
                          [&](std::string_view name) { return file.tensors().contains(std::string(name)); }))
    return GeluSign{true, "it holds the sizes that OpenAI's files hold (input_resolution, context_length, vocab_size)"};
  const std::filesystem::path folder = file.path().parent_path();
  const std::filesystem::path config_path = folder / "config.json";
  const Json config = object_in(config_path);
  if (const auto sign = sign_of_transformers(config, config_path)) return sign;
  if (const auto sign = sign_of_timm(config, config_path)) return sign;
  const std::filesystem::path open_clip_path = folder / "open_clip_config.json";
  return sign_of_open_clip(object_in(open_clip_path), open_clip_path);
}

void require_gelu(const WeightFile& file, const EncoderEntry& entry) {
  if (!entry.gelu) return;
  const std::optional<GeluSign> sign = gelu_sign(file);
  if (!sign || sign->is_quick == entry.gelu->is_quick) return;
  throw runtime::DataError(fmt::format(
      "the weights in {} were trained with {}: {}; encoder '{}' has the other: take '{}'", file.path().native(),
      sign->is_quick ? "QuickGELU" : "GELU by erf", sign->reason, entry.name, entry.gelu->other));
}

}  // namespace cskd::models
