#include "shards/importers/score_list.h"

#include <fmt/format.h>

#include "shards/importers/fields.h"
#include "shards/importers/line_reader.h"

namespace cskd::shards {

void list_scores(const std::string& file, const std::string& images, Split split, const RatingScale& scale,
                 ListedPictures& pictures, const TakeEntry& take) {
  LineReader reader(file);
  while (reader.next()) {
    const std::string_view line = trimmed(reader.line());
    if (line.empty()) continue;
    const size_t blank = line.find_last_of(" \t");
    if (blank == std::string_view::npos) {
      reader.fail(fmt::format("{} alone, expected a picture's name and its score", in_quotes(line)));
    }
    take(at_place_of(reader, [&] {
      const double score = number_of(line.substr(blank));
      return pictures.entry(images, std::string(trimmed(line.substr(0, blank))), scale.label_of(score), split);
    }));
  }
}

}  // namespace cskd::shards
