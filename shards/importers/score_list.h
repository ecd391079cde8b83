// A list without a header, one picture and its mean score a line: "name score".
#pragma once

#include <string>

#include "shards/importers/listed_pictures.h"
#include "shards/importers/rating_scale.h"
#include "shards/sample.h"

namespace cskd::shards {

// Every picture, in order, with the split. The score is what stands behind the last blank, so that names may hold
// blanks; blanks around the line and empty lines are passed over. Throws DataError naming file and line when a line has
// no score, or one that is impossible on the scale.
void list_scores(const std::string& file, const std::string& images, Split split, const RatingScale& scale,
                 ListedPictures& pictures, const TakeEntry& take);

}  // namespace cskd::shards
