// The results of an evaluation, as files and as text.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "evaluation/test_predictions.h"
#include "metrics/metrics.h"

namespace cskd::evaluation {

// How well a student repeats its teachers, whose answers are averaged, on pictures that neither has learnt from.
struct Fidelity {
  std::vector<std::string> teachers;
  metrics::Estimate srcc;           // of the student's and the teachers' mean scores
  metrics::Estimate teachers_srcc;  // of the teachers' mean scores with the ratings
};

// How good a trained model is on the held-out test pictures.
struct ModelResult {
  std::string model;  // stage that trained it: "distill.student"
  double label_fraction = 1;
  metrics::Scores scores;
  // On those of each source, of two pictures or more, by its name. Empty where one source has them all.
  std::vector<std::pair<std::string, metrics::Scores>> by_source;
  std::optional<Fidelity> fidelity;  // of a student whose teachers were evaluated, too
};

// One model minus another on the same pictures.
struct ModelDifference {
  std::string first, second;
  metrics::PairedDifference difference;
};

struct Results {
  TestSplit split;
  std::vector<ModelResult> models;
  std::vector<ModelDifference> differences;  // of the first model to every other
};

// <folder>/results.json: every figure with its interval. <folder>/predictions.csv: a line for each model and picture.
// Atomic. Returns their names.
std::vector<std::filesystem::path> write_results(const std::filesystem::path& folder, const Results& results,
                                                 const std::vector<TestPredictions>& predictions);

// What write_results() wrote to results.json. Throws DataError when it is damaged.
Results read_results(const std::filesystem::path& folder);

// A model's predictions of a run's test pictures, as predictions.csv holds them, in its order.
struct PredictedMeans {
  std::string model;
  std::vector<std::string> pictures;
  std::vector<double> rated, predicted;
};
// Throws DataError when the file is damaged.
std::vector<PredictedMeans> read_predictions(const std::filesystem::path& folder);

// results.json as it stands. Throws DataError when it is too large to be one.
std::string results_json(const std::filesystem::path& folder);

// A table for people: a line for each model; sources and differences where there are any; a sentence for each student.
std::string results_table(const Results& results);

}  // namespace cskd::evaluation
