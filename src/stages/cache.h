// Stores what the frozen CLIP encoder sees in random views of every unlabelled and training picture.
#pragma once

#include <ATen/core/Tensor.h>

#include "data/corpus.h"
#include "data/view.h"
#include "models/encoder.h"
#include "shards/feature_cache.h"
#include "stages/context.h"

namespace cskd::stages {

// What the caches of this configuration are bound to. `width` is the encoder's.
shards::CacheBinding cache_binding(const config::Config& config, const models::EncoderShape& shape);

// The view that was stored, to be rendered again.
data::View view_of(const shards::StoredView& stored);

// Pooled features [n, D] of rendered views (as render_batch()), float16, on the CPU.
at::Tensor encode_views(models::Encoder& encoder, const at::Tensor& pixels, const at::Device& device);

// Whether a shard has a cache: those of pictures that are trained on.
bool is_cached(const shards::Manifest::Shard& shard);

// File of the cache of a shard.
std::filesystem::path cache_path(const Context& context, const shards::Manifest::Shard& shard);

// <run>/cache/<encoder>/<shard>: one feature cache for each image shard, shared out over ranks as they ask. Collective.
// Caches that are whole are kept; one of another teacher or view specification is refused (BindingError). Facts: views,
// width.
StageOutcome run_cache(const Context& context);

}  // namespace cskd::stages
