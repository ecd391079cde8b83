#include "stages/model_card.h"

#include <algorithm>
#include <set>
#include <string>
#include <vector>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "config/tables.h"
#include "models/encoder_registry.h"
#include "stages/graph.h"
#include "stages/stage_table.h"

namespace cskd::stages {
namespace {

// A stage's own tables of weights, and those of the trainings that it needs, directly or not.
void collect(const std::vector<Stage>& graph, const std::string& id, std::set<std::string>& tables) {
  const Stage& stage = *std::ranges::find(graph, id, &Stage::id);
  tables.insert(stage.tables.begin(), stage.tables.end());
  for (const std::string& need : stage.needs) {
    if (!std::ranges::find(graph, need, &Stage::id)->entry->makes_corpus) collect(graph, need, tables);
  }
}

// As one cell of a table: names of sources come from a configuration.
std::string cell(const std::string& text) {
  std::string safe;
  for (const char c : text) safe += c == '|' ? "\\|" : c == '\n' ? " " : std::string(1, c);
  return safe;
}

std::string origins(const config::Config& config, const std::set<std::string>& tables) {
  std::string text = "| weights | architecture | licence of the published weights |\n| -- | -- | -- |\n";
  for (const std::string& table : tables) {
    const ModelSource source = model_source(config, table);
    const std::string name = table.substr(table.find('.') + 1);
    const bool is_random =
        table.starts_with("encoders.") && config::table_named(config.encoders(), name).weights().empty();
    const std::string& licence = models::encoder_entry(source.architecture).licence;
    text += fmt::format("| {} | {} | {} |\n", table, source.architecture,
                        is_random         ? "random at first"
                        : licence.empty() ? "not known: ask who published them"
                                          : licence);
  }
  return text;
}

std::string sources(const shards::Manifest& manifest) {
  std::string text = "| source | kind | pictures | ratings |\n| -- | -- | -- | -- |\n";
  for (const shards::Manifest::Source& source : manifest.sources()) {
    std::string ratings = "none";
    if (source.bin_centres_size() > 0) {
      ratings = fmt::format("{} to {}, splits: {}", source.bin_centres(0),
                            source.bin_centres(source.bin_centres_size() - 1), source.split_rule());
    }
    text += fmt::format("| {} | {} | {} | {} |\n", cell(source.name()), source.kind(), source.packed(), ratings);
  }
  return text;
}

std::string output_of(const CardSubject& subject, const shards::Manifest& manifest) {
  if (!subject.scores) {
    return fmt::format(
        "{} numbers, `projector`: an estimate of the whitened features of its towers, one tower after the "
        "other.",
        subject.outputs);
  }
  std::vector<float> centres;
  for (const shards::Manifest::Source& source : manifest.sources()) {
    if (source.bin_centres_size() > 0) centres.assign(source.bin_centres().begin(), source.bin_centres().end());
  }
  return fmt::format("logits of a distribution over the scores {}, `score_head`; a picture's score is the mean of it.",
                     fmt::join(centres, ", "));
}

std::string section(const char* heading, const std::string& text) {
  return text.empty() ? "" : fmt::format("## {}\n\n{}\n\n", heading, text);
}

}  // namespace

std::string training_sentence(const config::Config& config, const TrainingSetup& setup) {
  std::string streams;
  for (const PictureStream& stream : setup.streams) {
    streams += fmt::format("{}{} {}", streams.empty() ? "" : " and ", stream.batch,
                           stream.pictures == PictureStream::Pictures::kLabelled     ? "rated"
                           : stream.pictures == PictureStream::Pictures::kUnlabelled ? "unrated"
                                                                                     : "rated and unrated");
  }
  return fmt::format(
      "{} steps with {} pictures each, seed {}, {} of the ratings of the training split. The file holds "
      "the moving\naverage of the weights.",
      setup.training->steps(), streams, config.run().seed(),
      setup.learns_scores ? fmt::format("{} %", 100 * config.labels().fraction()) : "none");
}

std::string model_card(const config::Config& config, const CardSubject& subject, const shards::Manifest& manifest) {
  const models::EncoderShape& shape = subject.shape;
  std::set<std::string> tables;
  collect(graph(config), subject.stage, tables);
  return fmt::format(
      R"(---
library_name: cskd
pipeline_tag: {}
tags: [image-aesthetics, cskd]
---

# {}

{}, {:.2f} million parameters and statistics, trained by [cskd](https://arxiv.org/abs/2307.15640).

- **Input**: RGB, the whole picture squeezed to {} x {} pixels (bicubic), from 0 to 1, less mean [{}], divided by standard
  deviation [{}].
- **Output**: {}
- **File**: `model.safetensors`, under the names of the architecture's home.

{}## Made from

{}
{}
{}## Training

{}

## Limits

{}
)",
      subject.scores ? "image-classification" : "image-feature-extraction", subject.stage, shape.name,
      static_cast<double>(subject.parameters) * 1e-6, shape.image_size, shape.image_size, fmt::join(shape.mean, ", "),
      fmt::join(shape.stddev, ", "), output_of(subject, manifest),
      section("Use", subject.usage) + section("Figures", subject.figures), origins(config, tables), sources(manifest),
      tables.empty() ? ""
                     : "Licences of weights and pictures pass on to what is made from them as they say themselves.\n\n",
      subject.training,
      subject.scores ? "It repeats the taste of the people whose ratings it saw, on pictures like those. Judge it on "
                       "pictures of your own\nbefore anything depends on it."
                     : "Features for training on; it does not score pictures.");
}

}  // namespace cskd::stages
