// Test pictures that a report shows.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "run_report/run_record.h"

namespace cskd::run_report {

struct ShownPicture {
  std::string key;   // "<source>/<key>": any bytes
  std::string jpeg;  // a thumbnail; empty where the picture could not be read
  double rated = 0, predicted = 0;
};

struct ShownPictures {
  std::vector<ShownPicture> best, worst;  // as the model predicts
  std::vector<ShownPicture> most_wrong;   // where predicted and rated means are farthest apart
};

// At most `count` of each, by the first model's predictions; none without predictions. A picture that is no longer
// where it was is shown without its pixels, and the run's troubles say so.
ShownPictures shown_pictures(RunRecord& run, std::size_t count);

}  // namespace cskd::run_report
