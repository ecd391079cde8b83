// Predicts the held-out test pictures with every trained model of a run.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "config/config.pb.h"
#include "data/view.h"
#include "run/context.h"

namespace cskd::evaluation {

data::TestViews test_views(config::TestViews views);

// Which pictures models are judged on.
struct TestSplit {
  struct Source {
    std::string name;
    std::string rule;  // that made its splits: "official", "random", ...
    std::uint64_t pictures = 0;
  };
  std::vector<Source> sources;  // those that have test pictures
  std::uint64_t pictures = 0;
  std::string hash;  // of their keys and ratings in order, XXH3-128: the same split in every run that has it
};

// A model's predictions of the test split.
struct TestPredictions {
  std::string model;          // stage that trained it
  double label_fraction = 1;  // of the training labels
  std::vector<double> bin_centres;
  std::vector<std::string> keys;                      // "<source>/<key>"
  std::vector<std::size_t> sources;                   // of each picture, in TestSplit::sources
  std::vector<std::vector<double>> predicted, rated;  // distributions over bins
};

struct JudgedSplit {
  TestSplit split;
  std::vector<TestPredictions> models;  // in the order of the stages
};

// Predictions of the models that these stages trained. Collective; the same on every rank. Throws UsageError when there
// is no test picture.
JudgedSplit predict_test_split(const run::Context& context, const std::vector<std::string>& stages);

}  // namespace cskd::evaluation
