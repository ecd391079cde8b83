#include "shards/importers/rated_table.h"

#include <algorithm>
#include <utility>

#include <fmt/format.h>

#include "runtime/error.h"
#include "shards/importers/fields.h"
#include "shards/importers/table_reader.h"

namespace cskd::shards {
namespace {

// Rows of a table, by the columns that a RatedTable names.
class Rows {
 public:
  Rows(const RatedTable& table, const RatingScale& scale)
      : table_(table), scale_(scale), reader_(table.file, table.delimiter) {
    for (const std::string& column : table.key) key_.push_back(reader_.column(column));
    for (const std::string& column : table.counts) counts_.push_back(reader_.column(column));
    mean_ = optional_column(table.mean);
    stddev_ = optional_column(table.stddev);
    split_ = optional_column(table.split);
  }

  const TableReader& reader() const { return reader_; }
  bool next() { return reader_.next(); }

  std::string key() const {
    std::string key;
    for (size_t i = 0; i < key_.size(); ++i) key.append(i == 0 ? "" : "/").append(reader_.field(key_[i]));
    return key;
  }

  std::optional<Label> label() const {
    if (mean_) {
      if (is_empty(*mean_)) return std::nullopt;
      const double mean = number_of(reader_.field(*mean_));
      if (!stddev_ || is_empty(*stddev_)) return scale_.label_of(mean);
      return label_from_mean(mean, number_of(reader_.field(*stddev_)), scale_.bins);
    }
    if (std::all_of(counts_.begin(), counts_.end(), [this](size_t column) { return is_empty(column); })) {
      return std::nullopt;
    }
    std::vector<double> counts;
    for (const size_t column : counts_) counts.push_back(number_of(reader_.field(column)));
    return label_from_counts(counts, scale_.bins);
  }

  Split split() const { return split_ ? split_named(trimmed(reader_.field(*split_))) : table_.whole; }

 private:
  std::optional<size_t> optional_column(const std::string& name) const {
    return name.empty() ? std::nullopt : std::make_optional(reader_.column(name));
  }

  // Where empty fields are allowed: number_of() refuses all others.
  bool is_empty(size_t column) const { return table_.may_lack_ratings && trimmed(reader_.field(column)).empty(); }

  const RatedTable& table_;
  const RatingScale& scale_;
  TableReader reader_;
  std::vector<size_t> key_;
  std::vector<size_t> counts_;
  std::optional<size_t> mean_;
  std::optional<size_t> stddev_;
  std::optional<size_t> split_;
};

}  // namespace

Split split_named(std::string_view word) {
  if (word == "train" || word == "training") return Split::kTrain;
  if (word == "validation" || word == "val") return Split::kValidation;
  if (word == "test") return Split::kTest;
  if (word == "unlabelled" || word.empty()) return Split::kUnlabelled;
  throw runtime::DataError(
      fmt::format("{} is not a split, expected train, validation, test, unlabelled or nothing", in_quotes(word)));
}

void list_table(const RatedTable& table, const RatingScale& scale, ListedPictures& pictures, const TakeEntry& take) {
  Rows rows(table, scale);
  while (rows.next()) {
    take(at_place_of(rows.reader(),
                     [&] { return pictures.entry(table.images, rows.key(), rows.label(), rows.split()); }));
  }
}

}  // namespace cskd::shards
