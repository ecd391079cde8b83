// Predicts the held-out test pictures with every trained model of a run.
#pragma once

#include <string>
#include <vector>

#include "config/config.pb.h"
#include "data/view.h"
#include "run/context.h"

namespace cskd::evaluation {

data::TestViews test_views(config::TestViews views);

// A model's predictions of the test split.
struct TestPredictions {
  std::string model;          // stage that trained it
  double label_fraction = 1;  // of the training labels
  std::vector<double> bin_centres;
  std::vector<std::string> keys;                      // "<source>/<key>"
  std::vector<std::vector<double>> predicted, rated;  // distributions over bins
};

// Of the models that these stages trained. Collective; the same on every rank. Throws UsageError when there is no test
// picture.
std::vector<TestPredictions> predict_test_split(const run::Context& context, const std::vector<std::string>& stages);

}  // namespace cskd::evaluation
