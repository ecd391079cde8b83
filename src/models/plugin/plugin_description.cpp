#include "models/plugin/plugin_description.h"

#include <algorithm>
#include <cmath>

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <nlohmann/json.hpp>

#include "models/plugin/json_reader.h"
#include "runtime/error.h"

namespace cskd::models {
namespace {

using Json = nlohmann::json;

constexpr int kMostOutputs = 64;

std::array<float, 3> of_channels(const JsonReader& json, const Json& value, bool is_positive) {
  if (json.list(value).size() != 3) json.fail("mean and stddev have three numbers, of red, green and blue");
  std::array<float, 3> numbers{};
  for (std::size_t i = 0; i < 3; ++i) {
    numbers[i] = static_cast<float>(json.real(value[i]));
    if (!std::isfinite(numbers[i]) || (is_positive && numbers[i] <= 0))
      json.fail("mean and stddev are finite numbers, stddev above 0, of pixels in [0, 1]");
  }
  return numbers;
}

// Of three dimensions without the batch.
bool is_channels_first(const std::vector<std::int64_t>& shape) { return shape[1] == shape[2]; }

// The side of a square of `count` places, 0 if there is none.
int side_of(std::int64_t count) {
  const auto side =
      static_cast<std::int64_t>(std::lround(std::sqrt(static_cast<double>(std::max<std::int64_t>(count, 0)))));
  return side * side == count ? static_cast<int>(side) : 0;
}

}  // namespace

PluginDescription read_description(const std::string& text, const std::string& origin) {
  PluginDescription description;
  if (text.empty()) return description;
  const JsonReader json(fmt::format("{}: its description", origin));
  const Json document = json.parse(text);
  const auto find = [&](const char* key) -> const Json* {
    const auto found = json.object(document).find(key);
    return found == document.end() || found->is_null() ? nullptr : &*found;
  };
  const auto number = [&](const char* key, int most) -> std::optional<int> {
    const Json* const value = find(key);
    if (value == nullptr) return std::nullopt;
    const std::int64_t whole = json.whole(*value);
    if (whole < 0 || whole > most) json.fail(fmt::format("'{}' is {}, expected 0 to {}", key, whole, most));
    return static_cast<int>(whole);
  };
  if (const Json* const name = find("name")) description.name = json.text(*name);
  if (const Json* const licence = find("licence")) description.licence = json.text(*licence);
  const bool is_named = std::ranges::all_of(description.name, [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '-' ||
           c == '.';
  });
  if (!is_named || description.name.size() > 100)
    json.fail("'name' is at most 100 letters, digits, dots, underscores and hyphens");
  const bool has_control = std::ranges::any_of(description.licence, [](char c) { return c >= 0 && c < ' '; });
  if (has_control || description.licence.size() > 1000) json.fail("'licence' is one line of at most 1000 characters");
  const Json* const mean = find("mean");
  const Json* const stddev = find("stddev");
  if ((mean == nullptr) != (stddev == nullptr)) json.fail("mean and stddev belong together");
  if (mean != nullptr) description.normalisation = {of_channels(json, *mean, false), of_channels(json, *stddev, true)};
  description.pooled_output = number("pooled_output", kMostOutputs);
  description.token_output = number("token_output", kMostOutputs);
  description.skipped_tokens = number("skipped_tokens", 1'000'000);
  return description;
}

std::string text_of(const PluginDescription& description) {
  Json document{{"name", description.name}, {"licence", description.licence}};
  if (description.normalisation) {
    document["mean"] = description.normalisation->mean;
    document["stddev"] = description.normalisation->stddev;
  }
  if (description.pooled_output) document["pooled_output"] = *description.pooled_output;
  if (description.token_output) document["token_output"] = *description.token_output;
  if (description.skipped_tokens) document["skipped_tokens"] = *description.skipped_tokens;
  return document.dump();
}

PluginDescription merged(const PluginDescription& preferred, const PluginDescription& otherwise) {
  PluginDescription result = preferred;
  if (result.name.empty()) result.name = otherwise.name;
  if (result.licence.empty()) result.licence = otherwise.licence;
  if (!result.normalisation) result.normalisation = otherwise.normalisation;
  if (!result.pooled_output) result.pooled_output = otherwise.pooled_output;
  if (!result.token_output) result.token_output = otherwise.token_output;
  if (!result.skipped_tokens) result.skipped_tokens = otherwise.skipped_tokens;
  return result;
}

PluginOutputs find_outputs(const std::vector<std::vector<std::int64_t>>& shapes, const PluginDescription& description,
                           const std::string& origin) {
  std::string shown;
  for (const std::vector<std::int64_t>& shape : shapes)
    shown += fmt::format("{}[N, {}]", shown.empty() ? "" : ", ", fmt::join(shape, ", "));
  const auto fail = [&](const std::string& reason) {
    return runtime::DataError(fmt::format("{}: its outputs have the shapes {}: {}", origin, shown, reason));
  };
  const auto shape_of = [&](int output) -> const std::vector<std::int64_t>& {
    if (output >= static_cast<int>(shapes.size())) throw fail(fmt::format("there is no output {}", output));
    return shapes[static_cast<std::size_t>(output)];
  };
  PluginOutputs outputs{.pooled = description.pooled_output,
                        .tokens = description.token_output,
                        .skipped_tokens = description.skipped_tokens.value_or(0)};
  for (int i = 0; i < static_cast<int>(shapes.size()); ++i) {
    const std::size_t rank = shape_of(i).size();
    if (!description.pooled_output && !outputs.pooled && rank == 1) outputs.pooled = i;
    if (!description.token_output && !outputs.tokens && (rank == 2 || rank == 3)) outputs.tokens = i;
  }
  if (outputs.pooled) {
    const std::vector<std::int64_t>& shape = shape_of(*outputs.pooled);
    if (shape.size() != 1 || shape[0] < 1)
      throw fail(fmt::format("output {} holds no pooled features [N, D]", *outputs.pooled));
    outputs.pooled_width = static_cast<int>(shape[0]);
  }
  if (outputs.tokens) {
    const std::vector<std::int64_t>& shape = shape_of(*outputs.tokens);
    if (shape.size() != 2 && shape.size() != 3)
      throw fail(fmt::format("output {} holds no tokens [N, L, D], [N, D, S, S] or [N, S, S, D]", *outputs.tokens));
    if (shape.size() == 2) {
      outputs.grid = side_of(shape[0] - outputs.skipped_tokens);
      outputs.token_width = static_cast<int>(shape[1]);
    } else {
      const bool is_first = is_channels_first(shape);
      outputs.form = is_first ? TokenForm::kChannelsFirst : TokenForm::kChannelsLast;
      outputs.grid = static_cast<int>(is_first || shape[0] == shape[1] ? shape[is_first ? 1 : 0] : 0);
      outputs.token_width = static_cast<int>(shape[is_first ? 0 : 2]);
      if (outputs.skipped_tokens != 0) throw fail("only tokens [N, L, D] can have some to skip");
    }
    if (outputs.grid == 0 || outputs.token_width < 1) {
      // Without pooled features there would be nothing; and whoever names an output wants it.
      if (description.token_output || !outputs.pooled) {
        throw fail(
            fmt::format("the tokens of output {} form no square; skipped_tokens says how many (class token, "
                        "registers) stand before them",
                        *outputs.tokens));
      }
      outputs.tokens.reset();
      outputs.token_width = 0;
      outputs.grid = 0;
      outputs.skipped_tokens = 0;
    }
  }
  if (!outputs.pooled && !outputs.tokens)
    throw fail("one of them must hold pooled features [N, D], or tokens [N, L, D], [N, D, S, S] or [N, S, S, D]");
  if (!outputs.pooled) outputs.pooled_width = outputs.token_width;
  return outputs;
}

std::string sentence(const PluginOutputs& outputs) {
  std::string text =
      outputs.pooled
          ? fmt::format("pooled features of {} numbers from output {}", outputs.pooled_width, *outputs.pooled)
          : fmt::format("pooled features of {} numbers, the mean of its tokens", outputs.pooled_width);
  if (outputs.tokens) {
    text += fmt::format(", {} x {} tokens of {} from output {}", outputs.grid, outputs.grid, outputs.token_width,
                        *outputs.tokens);
  } else {
    text += ", no tokens";
  }
  return text;
}

}  // namespace cskd::models
