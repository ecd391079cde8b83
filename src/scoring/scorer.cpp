#include "scoring/scorer.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <span>

#include <ATen/Parallel.h>
#include <c10/core/GradMode.h>
#include <c10/core/InferenceMode.h>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <torch/types.h>

#include "data/loader.h"
#include "data/thumbnail.h"
#include "export/recording.h"
#include "models/construction.h"
#include "models/model_file.h"
#include "models/safetensors_header.h"
#include "runtime/error.h"
#include "scoring/opened_photo.h"

namespace cskd::scoring {
namespace {

constexpr std::uint64_t kAtOnce = 16;  // photos
constexpr std::uint64_t kAhead = 3;    // batches
constexpr int kThumbnailQuality = 72;
constexpr int kLookSide = 640;  // of what bursts are found by

struct Batch {
  std::uint64_t first = 0;                      // photo
  at::Tensor pixels;                            // [n, S, S, 3] uint8
  std::vector<std::string> errors, thumbnails;  // [n]
  std::vector<Shot> shots;                      // [n]; without scores
};

std::vector<double> centres_of(const std::string& text, const std::string& file) {
  std::vector<double> centres;
  for (const char* place = text.data(); place <= text.data() + text.size();) {
    double centre = 0;
    const auto [end, status] = std::from_chars(place, text.data() + text.size(), centre);
    const bool is_number =
        status == std::errc() && std::isfinite(centre) && (centres.empty() || centre > centres.back());
    if (!is_number || (end != text.data() + text.size() && *end != ','))
      throw runtime::DataError(
          fmt::format("{}: 'bin_centres' of its metadata is '{}', expected rising numbers", file, text));
    centres.push_back(centre);
    place = end + 1;
  }
  return centres;
}

// All pixels have one colour: nothing to score.
bool is_blank(std::span<const std::uint8_t> rgb) { return std::equal(rgb.begin() + 3, rgb.end(), rgb.begin()); }

}  // namespace

Scorer::Scorer(const std::filesystem::path& model) {
  const std::filesystem::path path = std::filesystem::is_directory(model) ? model / "model.safetensors" : model;
  const std::string& file = path.native();
  if (path.extension() == ".onnx") {
    throw runtime::UsageError(
        fmt::format("{} is for other programs: give the model.safetensors that lies beside it", file));
  }
  const std::map<std::string, std::string> metadata = models::read_safetensors_header(path).metadata;
  const auto field = [&](const char* key) {
    const auto found = metadata.find(key);
    return found == metadata.end() ? std::string() : found->second;
  };
  if (field("format") != "cskd-model" || field("bin_centres").empty()) {
    throw runtime::UsageError(fmt::format(
        "{} does not say which scores its outputs stand for: export the model, [export.NAME] with from = \"{}\", and "
        "give <run>/export/NAME",
        file, field("stage").empty() ? "distill.NAME" : field("stage")));
  }
  name_ = field("stage");
  centres_ = centres_of(field("bin_centres"), file);
  const models::StoredModel stored = models::read_model(path);
  if (stored.image_size < 1 || stored.image_size > 4096)
    throw runtime::DataError(fmt::format("{}: 'image_size' of its metadata is '{}'", file, stored.image_size));
  {
    const models::ConstructionGuard unset(models::Construction::kUnset);
    model_ = std::make_shared<models::HeadedEncoder>(models::make_encoder(stored.encoder, stored.image_size),
                                                     models::kScoreHead, static_cast<std::int64_t>(centres_.size()));
  }
  model_->use({});
  model_->load(stored.tensors, file, false);
  model_->whiten_features(stored.whitens);
  model_->eval();
  for (const at::Tensor& parameter : model_->parameters()) parameter.requires_grad_(false);
  model_->encoder().fold_for_inference();
}

std::int64_t Scorer::parameters() const {
  std::int64_t count = 0;
  for (const at::Tensor& parameter : model_->parameters()) count += parameter.numel();
  return count;
}

double Scorer::multiplications() const {
  const c10::InferenceMode inference(false);
  const c10::NoGradGuard no_gradients;
  const int side = image_size();
  return exporting::multiplications(
      exporting::record([this](const at::Tensor& images) { return std::vector<at::Tensor>{model_->forward(images)}; },
                        torch::zeros({1, 3, side, side})));
}

at::Tensor Scorer::distributions(const at::Tensor& pixels) {
  const c10::InferenceMode inference;
  compiled::CompiledNetwork* const fast = network();
  const at::Tensor outputs = fast != nullptr ? model_->forward_from(fast->pooled(pixels))
                                             : model_->forward(models::normalise(pixels, model_->shape()));
  return torch::softmax(outputs, 1).to(torch::kDouble);
}

compiled::CompiledNetwork* Scorer::network() {
  if (!not_compiled_.empty()) return nullptr;
  if (network_ && network_->threads() == at::get_num_threads()) return network_.get();
  try {
    network_ = std::make_unique<compiled::CompiledNetwork>(model_->encoder(), at::get_num_threads());
  } catch (const runtime::DataError& error) {
    not_compiled_ = error.what();
  }
  return network_.get();
}

std::string Scorer::engine() { return network() != nullptr ? "XNNPACK" : fmt::format("LibTorch ({})", not_compiled_); }

at::Tensor Scorer::pixels(const Photo& photo, data::ResizeMode mode) const {
  const int side = image_size();
  at::Tensor pixels = torch::zeros({1, side, side, 3}, torch::kByte);
  OpenedPhoto(photo, std::nullopt)
      .render(side, mode, {pixels.data_ptr<std::uint8_t>(), static_cast<std::size_t>(pixels.numel())});
  return pixels;
}

void Scorer::score(const std::vector<Photo>& photos, const ScoringOptions& options,
                   const std::function<bool(ScoredPhoto&&)>& take) {
  const int side = model_->shape().image_size;
  const std::uint64_t bytes = std::uint64_t{3} * static_cast<std::uint64_t>(side) * static_cast<std::uint64_t>(side);
  const auto count = [&](std::uint64_t ticket) {
    return std::min<std::uint64_t>(kAtOnce, photos.size() - ticket * kAtOnce);
  };
  data::Loader<Batch> loader(
      options.threads, kAhead, 0, (photos.size() + kAtOnce - 1) / kAtOnce,
      {.begin =
           [&](std::uint64_t ticket) {
             const std::uint64_t n = count(ticket);
             return Batch{.first = ticket * kAtOnce,
                          .pixels = torch::zeros({static_cast<std::int64_t>(n), side, side, 3}, torch::kByte),
                          .errors = std::vector<std::string>(n),
                          .thumbnails = std::vector<std::string>(n),
                          .shots = std::vector<Shot>(n)};
           },
       .fill =
           [&](Batch& batch, std::uint64_t item) {
             try {
               const OpenedPhoto photo(photos[batch.first + item], options.alpha);
               const std::span<std::uint8_t> pixels(batch.pixels.data_ptr<std::uint8_t>() + item * bytes,
                                                    static_cast<std::size_t>(bytes));
               photo.render(side, options.mode, pixels);
               if (is_blank(pixels)) throw runtime::DataError("blank: all of it has one colour");
               if (options.thumbnail_side > 0)
                 batch.thumbnails[item] = data::thumbnail(photo.shrunk(options.thumbnail_side), kThumbnailQuality);
               if (options.finds_bursts) {
                 const data::Image look = photo.shrunk(kLookSide);
                 batch.shots[item] = {.appearance = data::appearance_of(look), .sharpness = sharpness_of(look)};
               }
             } catch (const runtime::Error& error) {
               batch.errors[item] = fmt::format("{}", fmt::join(runtime::messages(error), ": "));
             }
           },
       .items = count,
       .made = {}});
  at::set_num_threads(options.threads);
  const at::Tensor centres = torch::tensor(at::ArrayRef<double>(centres_), torch::kDouble);
  for (std::uint64_t taken = 0; taken < photos.size();) {
    Batch batch = loader.next();
    const c10::InferenceMode inference;
    const at::Tensor shares = distributions(batch.pixels);
    const at::Tensor scores = torch::mv(shares, centres);
    const at::Tensor spreads = torch::mv(shares, centres.square()).sub(scores.square()).clamp_min(0).sqrt();
    for (std::size_t i = 0; i < batch.errors.size(); ++i, ++taken) {
      const auto row = static_cast<std::int64_t>(i);
      ScoredPhoto scored{.name = photos[taken].name,
                         .distribution = {},
                         .error = batch.errors[i],
                         .thumbnail = std::move(batch.thumbnails[i]),
                         .appearance = batch.shots[i].appearance,
                         .sharpness = batch.shots[i].sharpness};
      if (scored.error.empty()) {
        const at::Tensor values = shares[row].contiguous();
        scored.score = scores[row].item<double>();
        scored.spread = spreads[row].item<double>();
        scored.distribution.assign(values.const_data_ptr<double>(), values.const_data_ptr<double>() + values.numel());
        if (!std::isfinite(scored.score)) {
          throw runtime::DataError(
              fmt::format("the score of {} is not finite: the model {} is broken", scored.name, name_));
        }
      }
      if (!take(std::move(scored))) return;
    }
  }
}

}  // namespace cskd::scoring
