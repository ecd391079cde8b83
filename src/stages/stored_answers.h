// Answers of an aesthetics teacher to whole pictures, stored beside the teacher.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "data/corpus.h"
#include "features/cache_set.h"
#include "inference/stage_model.h"
#include "run/context.h"

namespace cskd::stages {

// Note [Stored answers]
// A teacher's distributions over bins for the whole picture and its mirror image, of every picture that is trained on,
// lie in <run>/<kind>/<teacher>/answers, one file for each image shard, in the format of feature caches: 2 * K float16
// numbers. A rank reads those of the pictures that it trains on, so that no rank's memory holds all of them; they are
// made once, by all ranks, whatever ended before the last one was; and all students of a teacher share them.
constexpr std::uint64_t kAnsweredViews = 2;

// Of a picture in a file.
std::uint64_t answer_bytes(std::uint64_t bins);

// The answers as trainings read them; those that are missing are made now. Collective. `context` and `corpus` outlive
// it. Throws as features::store_features().
std::unique_ptr<features::CacheSet> stored_answers(const run::Context& context, const std::string& teacher,
                                                   const inference::Model& model, std::int64_t bins,
                                                   const data::Corpus& corpus);

// The teacher as it looks at views.
features::ViewEncoder answering(const run::Context& context, const std::string& teacher, const inference::Model& model);

}  // namespace cskd::stages
