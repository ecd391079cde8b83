#include "stages/export.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <fstream>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <utility>
#include <vector>

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <nlohmann/json.hpp>
#include <spdlog/spdlog.h>
#include <torch/types.h>
#include <torch/utils.h>

#include "batches/batches.h"
#include "config/tables.h"
#include "config/toml_writer.h"
#include "data/sampler.h"
#include "export/onnx_file.h"
#include "export/quantisation.h"
#include "export/translation.h"
#include "inference/prediction.h"
#include "inference/stage_model.h"
#include "metrics/metrics.h"
#include "models/safetensors.h"
#include "run/provenance.h"
#include "runtime/atomic_file.h"
#include "runtime/content_hash.h"
#include "runtime/error.h"
#include "runtime/failure_point.h"
#include "runtime/input_file.h"
#include "stages/inputs.h"
#include "stages/model_card.h"
#include "stages/model_source.h"
#include "stages/rounding_choice.h"

namespace cskd::stages {
namespace {

using Json = nlohmann::ordered_json;

const config::Export& table_of(const config::Config& config, const std::string& name) {
  return config::table_named(config.export_(), name);
}

constexpr std::uint64_t kSensitivityPictures = 64;

struct Judgement {
  metrics::Scores model, exported;
  double difference = 0;  // the greatest of two scores
};

class ExportStage {
 public:
  ExportStage(const run::Context& context, const std::string& name)
      : context_(context),
        export_(table_of(context.config, name)),
        stage_("export." + name),
        corpus_(context),
        centres_(batches::bin_centres(corpus_.corpus())),
        model_(inference::load_stage_model(context, export_.from(), models::kScoreHead)) {
    model_->to(at::kCPU);
    model_->use({.precision = models::Precision::kFp32, .memory_format = models::MemoryFormat::kContiguous});
    recording_ = exporting::record([this](const at::Tensor& images) { return network(images); }, example());
    for (std::size_t i = exporting::first_exact_operation(recording_); i < recording_.operations.size(); ++i)
      exact_.insert(recording_.operations[i].outputs.begin(), recording_.operations[i].outputs.end());
  }

  Json run() {
    if (export_.precision() == config::Export::int8) choice_ = calibrated();
    const std::optional<Judgement> judgement = judged();
    if (context_.world.rank() != 0) return {};
    return write(judgement);
  }

  std::uint64_t images() const { return images_; }

 private:
  bool takes_pixels() const { return export_.input() == config::Export::pixels; }
  int side() const { return model_->shape().image_size; }

  at::Tensor example() const {
    return takes_pixels() ? at::zeros({1, side(), side(), 3}, at::kByte)
                          : at::zeros({1, 3, side(), side()}, at::kFloat);
  }

  // Score, spread and distribution.
  std::vector<at::Tensor> network(const at::Tensor& images) {
    const at::Tensor seen = takes_pixels() ? models::normalise(images, model_->shape()) : images;
    const at::Tensor distribution = torch::softmax(model_->forward(seen), 1);
    const at::Tensor centres = torch::tensor(at::ArrayRef<double>(centres_), torch::kDouble).to(torch::kFloat);
    const at::Tensor score = (distribution * centres).sum(1, /*keepdim=*/true);
    const at::Tensor distance = centres - score;
    const at::Tensor spread = (distribution * distance * distance).sum(1).sqrt();
    return {score.flatten(), spread, distribution};
  }

  // What the exported network makes of pixels [n, S, S, 3], by batches of the recording's size: its distributions.
  at::Tensor computed(const at::Tensor& pixels, const exporting::Recording::Change& change) {
    const at::Tensor images = takes_pixels() ? pixels : models::normalise(pixels, model_->shape()).contiguous();
    const std::int64_t count = images.size(0);
    std::vector<at::Tensor> outputs;
    for (std::int64_t first = 0; first < count; first += exporting::kRecordedImages) {
      // The last batch repeats its last picture.
      const at::Tensor rows = torch::arange(first, first + exporting::kRecordedImages, at::kLong).clamp_max(count - 1);
      const at::Tensor some = recording_.compute(images.index_select(0, rows), change).back();
      outputs.push_back(some.narrow(0, 0, std::min(exporting::kRecordedImages, count - first)));
    }
    return torch::cat(outputs);
  }

  at::Tensor predicted(const data::SampleSet& samples, const char* doing,
                       const std::function<at::Tensor(const at::Tensor& pixels)>& forward) {
    images_ += samples.size();
    return inference::predict(
               {.name = stage_,
                .side = side(),
                .forward = [&](const at::Tensor& pixels) { return forward(pixels.to(at::kCPU)).to(pixels.device()); }},
               corpus_, samples, {.leave_out_damaged = true, .doing = doing}, context_,
               [&](std::int64_t done, std::int64_t total) { context_.progress(stage_, done, total); })
        .select(1, 0)
        .to(at::kDouble);
  }

  RoundingChoice calibrated() {
    const auto split = [&](shards::Split of) { return data::SampleSet::of_split(corpus_.corpus(), of); };
    data::SampleSet all = split(shards::Split::kUnlabelled);
    if (all.size() == 0) all = split(shards::Split::kTrain);
    if (all.size() == 0) throw runtime::UsageError(fmt::format("{} has no pictures to calibrate int8 by", stage_));
    const data::SampleSet chosen =
        all.choose(context_.config.run().seed(), data::kStreamCalibrationPictures,
                   std::min<std::uint64_t>(export_.calibration_pictures(), all.size()), false);
    exporting::RangeMeter meter(recording_);
    predicted(chosen, "pictures were looked at for calibration", [&](const at::Tensor& pixels) {
      return computed(pixels, [&](std::size_t value, const at::Tensor& tensor) {
        meter.see(value, tensor);
        return tensor;
      });
    });
    at::Tensor reach = meter.reach().to(context_.communicator.device());
    context_.communicator.all_reduce(reach, distributed::Reduction::kMax);
    const data::SampleSet few = chosen.slice(0, std::min(chosen.size(), kSensitivityPictures));
    RoundingChoice choice = choose_rounding(
        recording_, meter.ranges(reach.to(at::kCPU)), export_.int8_deviation(),
        [&](const exporting::Rounding* rounding, bool of_few) { return scores(of_few ? few : chosen, rounding); });
    if (context_.world.rank() == 0) {
      spdlog::info(
          "{}: {} of {} products stay in float32; scores of {} pictures then deviate by {:.3f} of their spread", stage_,
          choice.rounding.exact.size(), exporting::products(recording_).size(), chosen.size(), choice.deviation);
    }
    return choice;
  }

  // With this rounding, or without one.
  std::vector<double> scores(const data::SampleSet& pictures, const exporting::Rounding* rounding) {
    Constants constants;
    const at::Tensor shares =
        predicted(pictures, "pictures were looked at for calibration", [&](const at::Tensor& pixels) {
          return computed(pixels, changed(constants, [&](std::size_t value, const at::Tensor& tensor) {
                            return rounding == nullptr ? tensor
                                                       : exporting::rounded(recording_, *rounding, value, tensor);
                          }));
        });
    const at::Tensor scores =
        torch::mv(shares, torch::tensor(at::ArrayRef<double>(centres_), torch::kDouble)).contiguous();
    return {scores.const_data_ptr<double>(), scores.const_data_ptr<double>() + scores.numel()};
  }

  using Constants = std::map<std::size_t, at::Tensor>;

  // Constants once, not in each batch. `constants` must outlive it.
  exporting::Recording::Change changed(Constants& constants, exporting::Recording::Change change) const {
    return [this, &constants, change = std::move(change)](std::size_t value, const at::Tensor& tensor) {
      if (!recording_.values[value].constant) return change(value, tensor);
      const auto [changed, is_new] = constants.try_emplace(value);
      if (is_new) changed->second = change(value, tensor);
      return changed->second;
    };
  }

  at::Tensor as_exported(std::size_t value, const at::Tensor& tensor) const {
    switch (export_.precision()) {
      case config::Export::fp16:
        return tensor.is_floating_point() && !exact_.contains(value) ? tensor.to(at::kHalf).to(at::kFloat) : tensor;
      case config::Export::int8:
        return exporting::rounded(recording_, choice_.rounding, value, tensor);
      default:
        return tensor;
    }
  }

  // Nothing where there are no two test pictures.
  std::optional<Judgement> judged() {
    const data::SampleSet test = data::SampleSet::of_split(corpus_.corpus(), shards::Split::kTest);
    if (test.size() < 2) return std::nullopt;
    const char* doing = "test pictures were scored";
    const at::Tensor model = predicted(test, doing, [&](const at::Tensor& pixels) {
      return torch::softmax(model_->forward(models::normalise(pixels, model_->shape())), 1);
    });
    Constants constants;
    const at::Tensor exported = predicted(test, doing, [&](const at::Tensor& pixels) {
      return computed(pixels, changed(constants, [&](std::size_t value, const at::Tensor& tensor) {
                        return as_exported(value, tensor);
                      }));
    });
    std::vector<metrics::RatedPrediction> of_model;
    std::vector<metrics::RatedPrediction> of_exported;
    Judgement judgement;
    const at::Tensor centres = torch::tensor(at::ArrayRef<double>(centres_), torch::kDouble);
    for (std::uint64_t i = 0; i < test.size(); ++i) {
      const auto row = static_cast<std::int64_t>(i);
      if (!model[row].isfinite().all().item<bool>()) continue;  // became unreadable
      const data::SampleRef sample = test.at(i);
      const auto shard = corpus_.corpus().shard(sample.shard);
      const std::span<const float> label = shard->histogram(sample.row);
      const auto distribution = [&](const at::Tensor& of) {
        const at::Tensor values = (of[row] / of[row].sum()).contiguous();
        return std::vector<double>(values.const_data_ptr<double>(), values.const_data_ptr<double>() + values.numel());
      };
      of_model.push_back({distribution(model), {label.begin(), label.end()}});
      of_exported.push_back({distribution(exported), {label.begin(), label.end()}});
      judgement.difference =
          std::max(judgement.difference, std::abs(((model[row] - exported[row]) * centres).sum().item<double>()));
    }
    const metrics::ScoreOptions options{.bin_centres = centres_,
                                        .middle = metrics::middle_of(centres_),
                                        .resamples = static_cast<int>(context_.config.evaluate().resamples()),
                                        .seed = context_.config.run().seed()};
    judgement.model = metrics::score(of_model, options);
    judgement.exported = metrics::score(of_exported, options);
    return judgement;
  }

  std::vector<std::pair<std::string, std::string>> metadata(const std::string& weights_hash) const {
    const models::EncoderShape& shape = model_->shape();
    return {{"made_by", "cskd"},
            {"model", export_.from()},
            {"encoder", shape.name},
            {"image_size", std::to_string(shape.image_size)},
            {"input", config::Export::Input_Name(export_.input())},
            {"mean", fmt::format("{}", fmt::join(shape.mean, ","))},
            {"std", fmt::format("{}", fmt::join(shape.stddev, ","))},
            {"bin_centres", fmt::format("{}", fmt::join(centres_, ","))},
            {"precision", config::Export::Precision_Name(export_.precision())},
            {"weights_xxh3", weights_hash}};
  }

  Json write(const std::optional<Judgement>& judgement) {
    runtime::failure_point("stage.model", stage_);
    const std::filesystem::path folder = context_.folder.stage(stage_);
    const models::StoredModel stored = inference::read_stage_model(context_, export_.from());
    const std::string weights_hash = runtime::content_hash(runtime::InputFile(stored.path)).hex();
    const auto facts = metadata(weights_hash);

    auto graph = exporting::translate(
        recording_, {"pixels", {"score", "spread", "distribution"}},
        export_.precision() == config::Export::fp16 ? exporting::FloatType::kFloat16 : exporting::FloatType::kFloat32);
    if (export_.precision() == config::Export::int8) exporting::quantise(graph, recording_, choice_.rounding);
    const std::string bytes = exporting::onnx_file(std::move(graph), stage_, "Scores of how people like photos", facts);
    runtime::write_file_atomically(folder / "model.onnx", bytes);

    const std::vector<std::pair<std::string, at::Tensor>> tensors(stored.tensors.begin(), stored.tensors.end());
    auto header = models::model_metadata(*model_, export_.from(), stored.outputs);
    header.insert(facts.begin(), facts.end());
    models::write_model(folder / "model.safetensors", tensors, std::move(header));
    std::int64_t parameters = 0;
    for (const auto& [name, tensor] : tensors) parameters += tensor.numel();

    Json result{{"from", export_.from()},
                {"precision", config::Export::Precision_Name(export_.precision())},
                {"input", config::Export::Input_Name(export_.input())},
                {"onnx_bytes", bytes.size()},
                {"operations", recording_.operations.size()},
                {"parameters", parameters}};
    if (export_.precision() == config::Export::int8) {
      result["float32_products"] = choice_.rounding.exact.size();
      result["deviation"] = std::isfinite(choice_.deviation) ? Json(choice_.deviation) : Json(nullptr);
    }
    if (judgement) {
      const auto figures = [](const metrics::Scores& scores) {
        return Json{{"srcc", scores.srcc.value},
                    {"srcc_low", scores.srcc.low},
                    {"srcc_high", scores.srcc.high},
                    {"plcc", scores.plcc.value},
                    {"n", scores.n}};
      };
      result["model"] = figures(judgement->model);
      result["exported"] = figures(judgement->exported);
      result["greatest_difference"] = judgement->difference;
    }
    runtime::write_file_atomically(
        folder / "model_card.md",
        model_card(context_.config,
                   {.stage = export_.from(),
                    .shape = model_->shape(),
                    .outputs = stored.outputs,
                    .parameters = parameters,
                    .training = fmt::format("As `model_card.md` of {} says. Weights: XXH3-128 `{}`.", export_.from(),
                                            weights_hash),
                    .figures = figures_of(judgement),
                    .usage = usage()},
                   corpus_.corpus().manifest()));
    return result;
  }

  std::string figures_of(const std::optional<Judgement>& judgement) const {
    if (!judgement) return "There were no test pictures to judge it by.";
    const auto row = [](const char* name, const metrics::Scores& scores) {
      return fmt::format("| {} | {:.3f} [{:.3f}, {:.3f}] | {:.3f} [{:.3f}, {:.3f}] | {:.1f} % | {} |\n", name,
                         scores.srcc.value, scores.srcc.low, scores.srcc.high, scores.plcc.value, scores.plcc.low,
                         scores.plcc.high, 100 * scores.accuracy.value, scores.n);
    };
    return "| on test pictures | SRCC | PLCC | accuracy | pictures |\n| -- | -- | -- | -- | -- |\n" +
           row("model.safetensors", judgement->model) +
           row(fmt::format("model.onnx, {}", config::Export::Precision_Name(export_.precision())).c_str(),
               judgement->exported) +
           fmt::format(
               "\nIn brackets: 95 % intervals, by a bootstrap over pictures. The two differ by {:.2g} of a score at "
               "most.",
               judgement->difference);
  }

  std::string usage() const {
    const models::EncoderShape& shape = model_->shape();
    const std::string pixels =
        takes_pixels()
            ? "pixels = numpy.asarray(photo)[None]"
            : fmt::format(
                  "pixels = (numpy.asarray(photo, numpy.float32) / 255 - numpy.float32([{}])) / numpy.float32([{}])\n"
                  "pixels = pixels.transpose(2, 0, 1)[None]",
                  fmt::join(shape.mean, ", "), fmt::join(shape.stddev, ", "));
    return fmt::format(R"(```python
import sys
import numpy, onnxruntime
from PIL import Image, ImageOps

session = onnxruntime.InferenceSession("model.onnx")
photo = ImageOps.exif_transpose(Image.open(sys.argv[1])).convert("RGB")
photo = photo.resize(({0}, {0}), Image.Resampling.BICUBIC)
{1}
score, spread, distribution = session.run(None, {{"pixels": pixels}})
print(f"{{score[0]:.4f}}")
```)",
                       shape.image_size, pixels);
  }

  const run::Context& context_;
  const config::Export& export_;
  const std::string stage_;
  batches::CheckedCorpus corpus_;
  const std::vector<double> centres_;
  const inference::Model model_;
  exporting::Recording recording_;
  std::set<std::size_t> exact_;  // values that are never rounded
  RoundingChoice choice_;        // of int8
  std::uint64_t images_ = 0;
};

}  // namespace

run::StageOutcome run_export(const run::Context& context, const std::string& name) {
  const std::string stage = "export." + name;
  const std::filesystem::path folder = context.folder.stage(stage);
  run::StageOutcome outcome{
      .completion = {.stage = stage, .inputs = export_inputs(context.config, context.folder, name)}};
  if (const auto done =
          run::agree_on_completion(folder, outcome.completion.inputs, context.world, run::OtherInputs::kMakeAgain))
    return {.completion = *done, .done_before = true};
  const auto start = std::chrono::steady_clock::now();
  run::make_stage_folder(folder, context.world);
  ExportStage work(context, name);
  outcome.completion.facts = work.run().dump();
  outcome.completion.images = work.images();
  outcome.completion.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  outcome.completion.products = {"model.onnx", "model.safetensors", "model_card.md"};
  if (context.world.rank() == 0) run::write_completion(folder, outcome.completion);
  context.world.barrier();
  return outcome;
}

std::string export_text(const run::RunFolder& folder, const run::Completion& completion) {
  const Json facts = Json::parse(completion.facts);
  std::string text = fmt::format("  {}: {}, {:.1f} MB\n", (folder.stage(completion.stage) / "model.onnx").native(),
                                 facts.at("precision").get<std::string>(), facts.at("onnx_bytes").get<double>() * 1e-6);
  if (facts.contains("exported")) {
    text += fmt::format("  on {} test pictures SRCC {:.4f}, before {:.4f}; scores differ by {:.2g} at most\n",
                        facts.at("exported").at("n").get<std::int64_t>(), facts.at("exported").at("srcc").get<double>(),
                        facts.at("model").at("srcc").get<double>(), facts.at("greatest_difference").get<double>());
  }
  return text;
}

}  // namespace cskd::stages
