// A model that scores photos by itself, without a run around it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <ATen/core/Tensor.h>

#include "compiled/compiled_network.h"
#include "data/colour.h"
#include "data/resize.h"
#include "models/headed_encoder.h"
#include "scoring/bursts.h"
#include "scoring/photos.h"

namespace cskd::scoring {

// What a photo came to.
struct ScoredPhoto {
  std::string name;
  double score = 0;                  // mean of the distribution
  double spread = 0;                 // its standard deviation
  std::vector<double> distribution;  // over Scorer::bin_centres()
  std::string error;                 // why there is no score; "": there is one
  std::string thumbnail;             // JPEG, where it was asked for
  data::Appearance appearance;       // where bursts are to be found
  double sharpness = 0;              // likewise
  BurstPlace place;                  // in a burst, once they were found
};

struct ScoringOptions {
  int threads = 1;  // that read, decode and resize, while as many compute
  // kExact: the pixels of training and evaluation; kFast: large JPEGs are decoded at a lower resolution.
  data::ResizeMode mode = data::ResizeMode::kFast;
  std::optional<data::Colour> alpha;  // what transparent photos are laid over; nothing: transparency is dropped
  int thumbnail_side = 0;             // the longer one; 0: none are made
  bool finds_bursts = false;
};

class Scorer {
 public:
  // `model`: model.safetensors of an export, or the folder with it. Throws UsageError for a file that is something
  // else, with what to do; DataError when it is damaged.
  explicit Scorer(const std::filesystem::path& model);

  const std::vector<double>& bin_centres() const { return centres_; }
  const std::string& name() const { return name_; }  // of the model
  const std::string& encoder() const { return model_->shape().name; }
  int image_size() const { return model_->shape().image_size; }
  std::int64_t parameters() const;
  std::string engine();            // what computes, and why it is not XNNPACK where it is not
  double multiplications() const;  // of convolutions and matrix products with weights, for one image

  // uint8 [n, S, S, 3] to distributions [n, K], float64, by as many threads as at::get_num_threads() says. Networks of
  // convolutions are compiled for that at their first use (Note [Compiled networks]).
  at::Tensor distributions(const at::Tensor& pixels);
  // The whole photo, squeezed: uint8 [1, S, S, 3]. Throws DataError with why it cannot be read.
  at::Tensor pixels(const Photo& photo, data::ResizeMode mode) const;

  // Scores the photos in their order, and hands out each; those that cannot be read have an error. Stops early where
  // `take` returns false. Throws DataError where the model's outputs are not finite.
  void score(const std::vector<Photo>& photos, const ScoringOptions& options,
             const std::function<bool(ScoredPhoto&&)>& take);

 private:
  compiled::CompiledNetwork* network();  // null: the encoder has to be used

  std::shared_ptr<models::HeadedEncoder> model_;
  std::vector<double> centres_;
  std::string name_;
  std::unique_ptr<compiled::CompiledNetwork> network_;
  std::string not_compiled_;  // why; "": it is, or was not tried yet
};

}  // namespace cskd::scoring
