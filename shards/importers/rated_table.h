// A table whose rows are pictures with their ratings.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "shards/importers/listed_pictures.h"
#include "shards/importers/rating_scale.h"
#include "shards/sample.h"

namespace cskd::shards {

struct RatedTable {
  std::string file;
  std::optional<char> delimiter;    // see TableReader
  std::string images;               // folder of the pictures
  std::vector<std::string> key;     // columns that make up the key, with '/' between them
  std::string mean;                 // column of the mean score; empty without
  std::string stddev;               // column of the stddev; empty without
  std::vector<std::string> counts;  // columns of the counts; empty without
  std::string split;                // column of the split; empty without
  Split whole = Split::kTrain;      // split of all rows where there is no such column
  bool may_lack_ratings = false;    // whether a row may leave its mean, or all its counts, empty
};

// Throws DataError for another word than train, training, validation, val, test, unlabelled, or none.
Split split_named(std::string_view word);

// Every row, in order. Throws DataError naming file
// and line when the table is damaged or a number is impossible on the scale.
void list_table(const RatedTable& table, const RatingScale& scale, ListedPictures& pictures, const TakeEntry& take);

}  // namespace cskd::shards
