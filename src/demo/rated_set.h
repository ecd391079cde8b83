// The text files of the rated source, in AVA's layout, and the truth behind them.
#pragma once

#include <cstdint>
#include <string>

#include "demo/corpus_plan.h"

namespace cskd::demo {

struct RatedTexts {
  // AVA.txt: index, image id, ten counts, two tags (0: none), challenge id; separated by blanks.
  std::string ratings;
  std::string tags;       // tags.txt: number and name
  std::string test_ids;   // aesthetics_image_lists/generic_test.jpgl, one id a line
  std::string train_ids;  // aesthetics_image_lists/generic_train.jpgl
  // truth/latent.csv, for tests and analysis only: the factors and liking of each scene, and the votes of both halves
  // of the panel.
  std::string latent;
};

RatedTexts rated_texts(const CorpusPlan& plan, std::uint64_t seed);

}  // namespace cskd::demo
