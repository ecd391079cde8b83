// predictions.csv is read as it was written, whatever pictures are called.
#include <filesystem>
#include <fstream>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "evaluation/results.h"
#include "runtime/error.h"
#include "tests/support/temporary_folder.h"

namespace cskd::evaluation {
namespace {

using testing::DoubleEq;
using testing::ElementsAre;

TestPredictions predictions(const std::string& model, const std::vector<std::string>& keys) {
  TestPredictions all{.model = model, .bin_centres = {0, 1}};
  for (std::size_t i = 0; i < keys.size(); ++i) {
    all.keys.push_back(keys[i]);
    all.rated.push_back({0.75, 0.25});
    all.predicted.push_back({0.5, 0.5});
  }
  return all;
}

TEST(PredictionsFile, IsReadAsItWasWrittenWhateverPicturesAreCalled) {
  const tests::TemporaryFolder folder;
  const std::vector<std::string> keys{"a/b.jpg", "a/\"quoted\",1\n2.jpg", "", "a/\"", "\"\""};
  write_results(folder.path(), {},
                {predictions("distill.student", keys), predictions("finetune.teacher", {"a/b.jpg"})});
  const std::vector<PredictedMeans> read = read_predictions(folder.path());
  ASSERT_EQ(read.size(), 2U);
  EXPECT_EQ(read[0].model, "distill.student");
  EXPECT_EQ(read[0].pictures, keys);
  EXPECT_THAT(read[0].rated, testing::Each(DoubleEq(0.25)));
  EXPECT_THAT(read[0].predicted, testing::Each(DoubleEq(0.5)));
  EXPECT_THAT(read[1].pictures, ElementsAre("a/b.jpg"));
}

TEST(PredictionsFile, DamageIsRefused) {
  const tests::TemporaryFolder folder;
  for (const char* row : {"\"a\",m,0.5,0.5,1", "\"a\",m,0.5,0.5,1,x", "\"a\",m,0.5,x,1,1", "a,m,0.5,0.5,1,1", "\"a",
                          "\"a\"m,0.5,0.5,1,1", "\"a\",m,0.5,0.5,1,1,1"}) {
    std::ofstream(folder.path() / "predictions.csv")
        << "picture,model,rated_mean,predicted_mean,rated_std,predicted_std\n"
        << row << "\n";
    EXPECT_THROW(read_predictions(folder.path()), runtime::DataError) << row;
  }
}

}  // namespace
}  // namespace cskd::evaluation
