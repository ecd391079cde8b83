// The stage that stores what a tower sees in views (data/view_series.h) of every unlabelled and training picture.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <utility>

#include "data/view_series.h"
#include "features/stored_features.h"
#include "models/encoder.h"
#include "run/context.h"
#include "runtime/inputs.h"
#include "shards/feature_cache/format.h"

namespace cskd::features {

// What the caches of a tower are bound to. `shape` is the tower's.
shards::CacheBinding cache_binding(const config::Config& config, const config::Tower& tower,
                                   const models::EncoderShape& shape);

// The views of each picture that the tower sees.
data::ViewSeries view_series(const config::Tower& tower);

// The tower as it looks at views.
ViewEncoder view_encoder(const run::Context& context, const config::Tower& tower,
                         const std::shared_ptr<models::Encoder>& encoder);

// Of the float16 features of a view, with those of every token or without.
std::uint64_t feature_bytes(const models::EncoderShape& shape, bool with_tokens);

// Throws UsageError unless the number of views is one that can be stored or, for towers that are asked in each step,
// shown.
void require_views(const config::Tower& tower, bool are_stored);

// The stage that makes a tower's caches: "cache.clip".
std::string cache_stage(const config::Tower& tower);

// <run>/cache/<tower>.
FeaturePlace cache_place(const run::RunFolder& folder, const config::Tower& tower);

// Stores what a tower sees, as store_features(); caches of another tower or view specification are refused.
run::StageOutcome run_cache(const run::Context& context, const std::string& tower);

// What decides about its result. Throws DataError when the manifest is damaged.
runtime::Inputs cache_inputs(const config::Config& config, const run::RunFolder& folder, const std::string& tower);

// How many of a picture's uses show the whole of it: an input of trainings, not of the cache.
std::pair<std::string, std::string> whole_input(const config::Tower& tower);

// What stands for a tower's weights among inputs: name, and digest of the file.
std::pair<std::string, std::string> weights_input(const config::Tower& tower);

}  // namespace cskd::features
