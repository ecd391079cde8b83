#include "analysis/subjects.h"

#include <algorithm>
#include <filesystem>

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <spdlog/spdlog.h>
#include <torch/types.h>

#include "config/references.h"
#include "config/tables.h"
#include "features/tower.h"
#include "inference/stage_model.h"
#include "runtime/content_hash.h"
#include "runtime/error.h"
#include "runtime/input_file.h"
#include "runtime/spelling.h"
#include "stages/model_source.h"

namespace cskd::analysis {
namespace {

constexpr const char* kTowers = "towers";
constexpr const char* kEncoders = "encoders";

// Lists of the configuration whose tables are models, in the order in which they are told.
const std::vector<std::string>& model_lists() {
  static const std::vector<std::string> lists{kTowers, kEncoders, "align", "finetune", "distill"};
  return lists;
}

std::string list_of(const std::string& subject) { return subject.substr(0, subject.find('.')); }
std::string name_of(const std::string& subject) { return subject.substr(subject.find('.') + 1); }

std::vector<std::string> known_subjects(const config::Config& config) {
  std::vector<std::string> known;
  for (const std::string& list : model_lists()) {
    for (const std::string& name : config::tables_in(config, list)) known.push_back(fmt::format("{}.{}", list, name));
  }
  return known;
}

// The file that its weights lie in; empty: it starts with random ones.
std::filesystem::path weights_of(const run::Context& context, const std::string& subject) {
  const std::string list = list_of(subject);
  if (list == kTowers) return config::table_named(context.config.towers(), name_of(subject)).weights();
  if (list == kEncoders) return config::table_named(context.config.encoders(), name_of(subject)).weights();
  return context.folder.model(subject);
}

// As rank 0 sees it, which all others follow.
bool is_there(const run::Context& context, const std::string& subject) {
  const std::filesystem::path weights = weights_of(context, subject);
  std::error_code error;
  return context.world.any(context.world.rank() == 0 && (weights.empty() || std::filesystem::exists(weights, error)));
}

[[noreturn]] void refuse_unknown(const std::string& name, const std::vector<std::string>& known) {
  std::string near = runtime::nearest(name, known);
  const auto same = std::ranges::find_if(known, [&](const std::string& each) { return name_of(each) == name; });
  if (near.empty() && same != known.end()) near = *same;
  throw runtime::UsageError(fmt::format(
      "the configuration has no model '{}'{}", name,
      near.empty() ? fmt::format("; there is {}", fmt::join(known, ", ")) : fmt::format(", did you mean '{}'?", near)));
}

// What to do about one that is not there.
std::string remedy(const run::Context& context, const std::string& subject) {
  const std::string list = list_of(subject);
  if (list == kTowers || list == kEncoders)
    return fmt::format("{}: its weights {} are not there", subject, weights_of(context, subject).native());
  return fmt::format("{} is not trained yet: run 'cskd {} CONFIG {}' first", subject, list, name_of(subject));
}

}  // namespace

std::vector<std::string> subjects(const run::Context& context, const std::vector<std::string>& asked) {
  const std::vector<std::string> known = known_subjects(context.config);
  for (const std::string& name : asked) {
    if (std::ranges::find(known, name) == known.end()) refuse_unknown(name, known);
  }
  std::vector<std::string> chosen;
  std::vector<std::string> missing;
  for (const std::string& subject : known) {
    if (!asked.empty() && std::ranges::find(asked, subject) == asked.end()) continue;
    if (is_there(context, subject)) {
      chosen.push_back(subject);
    } else {
      missing.push_back(remedy(context, subject));
    }
  }
  if (!asked.empty() && !missing.empty()) throw runtime::UsageError(fmt::format("{}", fmt::join(missing, "; ")));
  if (chosen.empty()) {
    throw runtime::UsageError(missing.empty()
                                  ? "there is nothing to analyse: the configuration has no model"
                                  : fmt::format("there is nothing to analyse yet: {}", fmt::join(missing, "; ")));
  }
  if (context.world.rank() == 0) {
    for (const std::string& text : missing) spdlog::info("left out: {}", text);
  }
  return chosen;
}

std::vector<std::string> towers_to_compare(const run::Context& context) {
  std::vector<std::string> towers;
  for (const std::string& name : config::tables_in(context.config, kTowers)) {
    const std::string subject = fmt::format("{}.{}", kTowers, name);
    if (is_there(context, subject)) towers.push_back(subject);
  }
  return towers;
}

runtime::Inputs subject_inputs(const run::Context& context, const std::string& subject) {
  const std::string list = list_of(subject);
  if (list == kTowers || list == kEncoders) return stages::source_inputs(context.config, context.folder, subject);
  runtime::Inputs inputs;
  inputs.add("model of " + subject, runtime::content_hash(runtime::InputFile(context.folder.model(subject))).hex());
  return inputs;
}

models::EncoderShape subject_shape(const run::Context& context, const std::string& subject) {
  const stages::ModelSource source = stages::model_source(context.config, subject);
  return models::encoder_shape(source.architecture, source.image_size);
}

bool subject_is_trained(const run::Context& context, const std::string& subject) {
  return stages::model_source(context.config, subject).is_trained;
}

std::shared_ptr<models::Encoder> load_subject(const run::Context& context, const std::string& subject) {
  const std::string list = list_of(subject);
  const std::string name = name_of(subject);
  if (list == kTowers) return features::load_tower(context, config::table_named(context.config.towers(), name));
  if (list != kEncoders) {
    const char* head = list == "align" ? models::kProjector : models::kScoreHead;
    const inference::Model model = inference::load_stage_model(context, subject, head);
    return {model, &model->encoder()};
  }
  const config::Encoder& encoder = config::table_named(context.config.encoders(), name);
  const inference::Model model = inference::make_model(
      context, encoder.architecture(), static_cast<int>(encoder.image_size()), models::kProjector, 1, subject);
  stages::start_weights(*model, subject, context);
  model->eval();
  for (const torch::Tensor& parameter : model->parameters()) parameter.requires_grad_(false);
  model->encoder().fold_for_inference();
  return {model, &model->encoder()};
}

}  // namespace cskd::analysis
