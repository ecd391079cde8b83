// Stores what the frozen CLIP encoder sees in random views of every unlabelled and training picture.
#pragma once

#include <ATen/core/Tensor.h>

#include "data/corpus.h"
#include "data/view.h"
#include "models/encoder.h"
#include "run/context.h"
#include "runtime/inputs.h"
#include "shards/feature_cache.h"

namespace cskd::features {

// What the caches of this configuration are bound to. `width` is the encoder's.
shards::CacheBinding cache_binding(const config::Config& config, const models::EncoderShape& shape);

// The view that was stored, to be rendered again.
data::View view_of(const shards::StoredView& stored);

// Pooled features [n, D] of rendered views (as render_batch()), float16, on the CPU.
at::Tensor encode_views(models::Encoder& encoder, const at::Tensor& pixels, const at::Device& device);

// Whether a shard has a cache: those of pictures that are trained on.
bool is_cached(const shards::Manifest::Shard& shard);

// File of the cache of a shard.
std::filesystem::path cache_path(const run::Context& context, const shards::Manifest::Shard& shard);

// <run>/cache/<encoder>/<shard>: one feature cache for each image shard, shared out over ranks as they ask. Collective.
// Caches that are whole are kept; one of another teacher or view specification is refused (BindingError). Facts: views,
// width.
run::StageOutcome run_cache(const run::Context& context);

// What decides about its result. Throws UsageError when clip.weights is missing, DataError when the manifest is
// damaged.
runtime::Inputs cache_inputs(const run::Context& context);

// Name of the input that stands for CLIP: see clip_inputs().
inline constexpr const char* kClipInput = "clip.encoder and contents of clip.weights";

}  // namespace cskd::features
