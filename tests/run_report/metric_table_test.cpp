#include "run_report/metric_table.h"

#include <cmath>
#include <fstream>

#include <gtest/gtest.h>

#include "tests/support/temporary_folder.h"

namespace cskd::run_report {
namespace {

using tests::TemporaryFolder;

MetricTable read(const std::string& text) {
  const TemporaryFolder folder;
  std::ofstream(folder / "metrics.jsonl", std::ios::binary) << text;
  return read_metrics(folder.path());
}

TEST(MetricTable, IsEmptyWithoutAFile) {
  const TemporaryFolder folder;
  EXPECT_EQ(read_metrics(folder.path()).lines, 0);
}

TEST(MetricTable, HasACurveForEachFigure) {
  const MetricTable table = read(R"({"step": 10, "time": 100.0, "train/loss": 0.5, "a": null}
{"step": 20, "time": 105.0, "train/loss": 0.25}
)");
  ASSERT_NE(table.find("train/loss"), nullptr);
  EXPECT_EQ(table.find("train/loss")->steps, (std::vector<std::int64_t>{10, 20}));
  EXPECT_EQ(table.find("train/loss")->values, (std::vector<double>{0.5, 0.25}));
  EXPECT_TRUE(std::isnan(table.find("a")->values.at(0)));
  EXPECT_EQ(table.step_seconds, std::vector<double>{0.5});
  EXPECT_EQ(table.find("b"), nullptr);
}

TEST(MetricTable, CountsWhatIsNoRecord) {
  const MetricTable table = read(R"({"step": 1, "time": 1, "x": 1}
nonsense
{"x": 2}
{"step": -3, "x": 2}
{"step": 1e300, "x": 2}
[1]
{"step": 2, "time": 2, "x": "text", "y": 3}
{"step": 3, "ti)");
  EXPECT_EQ(table.lines, 2);
  EXPECT_EQ(table.damaged_lines, 6);
  EXPECT_EQ(table.find("x")->values, std::vector<double>{1});
}

TEST(MetricTable, PausesAreNoSteps) {
  std::string text;
  double time = 0;
  for (int step = 1; step <= 20; ++step) {
    time += step == 10 ? 3600 : 1;
    text += R"({"step": )" + std::to_string(step) + R"(, "time": )" + std::to_string(time) + "}\n";
  }
  const MetricTable table = read(text);
  EXPECT_EQ(table.step_seconds.size(), 18);
  EXPECT_EQ(mean_of(table.step_seconds), 1);
}

TEST(Thinned, IsMadeOfMeans) {
  Curve curve;
  for (int i = 0; i < 1000; ++i) {
    curve.steps.push_back(i);
    curve.values.push_back(i == 5 ? std::nan("") : i);
  }
  const Curve thin = thinned(curve, 100);
  ASSERT_EQ(thin.values.size(), 100U);
  EXPECT_EQ(thin.values[0], (0 + 1 + 2 + 3 + 4 + 6 + 7 + 8 + 9) / 9.0);  // NaN left out
  EXPECT_EQ(thin.values[99], 994.5);
  EXPECT_EQ(thin.steps[99], 994);
  EXPECT_EQ(thinned(curve, 1000).values.size(), 1000U);
}

}  // namespace
}  // namespace cskd::run_report
