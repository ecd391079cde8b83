// The rule by which pictures of a source serve for training, validation or testing.
#pragma once

#include <memory>
#include <string_view>

#include "config/source.pb.h"
#include "shards/importers/importer.h"

namespace cskd::shards {

// A number of [0, 1) that follows from the two names alone: where a picture falls when its source is divided at random.
double position_of(std::string_view source_name, std::string_view key);

// Lists what `importer` lists, with the splits that source.split() gives; only pictures of a split other than
// unlabelled keep their labels. A picture is of the test split when its position is below test_share, of the validation
// split when it is in the validation_share above.
std::unique_ptr<Importer> with_split_rule(std::unique_ptr<Importer> importer, const config::Source& source);

}  // namespace cskd::shards
