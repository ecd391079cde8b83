// Features of views of all pictures that are trained on, as a result: one file for each image shard.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>

#include <ATen/core/Tensor.h>

#include "data/view.h"
#include "models/encoder.h"
#include "run/context.h"
#include "runtime/inputs.h"
#include "shards/feature_cache/format.h"
#include "shards/manifest.h"

namespace cskd::features {

// A frozen network that looks at rendered views.
struct ViewEncoder {
  std::string name;    // for messages: "ViT-B-32 with the weights clip.safetensors"
  std::string advice;  // where features are not finite: "are they weights of this encoder?"
  int side = 0;        // pixels
  std::function<at::Tensor(const at::Tensor& pixels)> encode;  // [n, side, side, 3] uint8 to [n, D] float16, on the CPU
};

struct StoredFeatures {
  ViewEncoder encoder;
  shards::CacheBinding binding;
  std::uint64_t batch = 1;  // views that the network looks at at once, about
  // View `number` of the picture with these contents, width x height pixels.
  std::function<data::View(std::uint64_t picture, std::uint64_t number, int width, int height)> view;
};

// Where features are stored, and what people read of them.
struct FeaturePlace {
  std::filesystem::path folder;
  std::string name;     // "cache.clip", the kind before the first dot
  std::string command;  // that makes them: "cskd cache"
  std::string done;     // "features were cached"
  // Files of another binding are made again; otherwise they are refused.
  bool replaces_others = false;
};

// Whether a shard's pictures have features: those that are trained on.
bool has_stored_features(const shards::Manifest::Shard& shard);

// Makes what is missing in the folder; shards are shared out over ranks as they ask. Files that are whole are kept, and
// views that are missing in them are added. `make` is called when there is something to do. Collective. Facts of its
// completion: views, width. Throws BindingError for files of another binding, DataError for features that are not
// finite, naming network and picture; Stopped after a signal.
run::StageOutcome store_features(const run::Context& context, const FeaturePlace& place, const runtime::Inputs& inputs,
                                 const std::function<StoredFeatures()>& make);

// How an encoder's images are made, as a part of a binding.
std::string preprocessing_of(const config::Config& config, const models::EncoderShape& shape);

// The view that was stored, to be rendered again.
data::View view_of(const shards::StoredView& stored);

}  // namespace cskd::features
