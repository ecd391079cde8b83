#include "training/step_totals.h"

#include <limits>
#include <utility>

#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "runtime/check.h"

namespace cskd::training {
namespace {

using testing::ElementsAre;
using testing::Pair;

MicroBatchTotals totals_of(float loss, float cosine, float emd, std::int64_t images, std::uint64_t damaged) {
  return {.loss = at::scalar_tensor(loss),
          .figures = {{"train/cosine", at::scalar_tensor(cosine)}, {"train/emd", at::scalar_tensor(emd)}},
          .images = images,
          .damaged = damaged};
}

TEST(StepTotals, AreMeansAndSumsOfWhatWasWritten) {
  const MicroBatchTotals first = totals_of(1, 0.5, 10, 3, 0);
  const StepTotalsLayout layout(first);
  ASSERT_EQ(layout.size(), 5);
  at::Tensor sums = at::zeros({layout.size()});
  for (const MicroBatchTotals& each : {first, totals_of(2, 0.25, 20, 4, 7)}) {
    const at::Tensor room = at::full({layout.size()}, std::numeric_limits<float>::quiet_NaN());
    layout.write(each, room);
    sums += room;
  }
  const StepTotals totals = layout.read(sums, 2);
  EXPECT_EQ(totals.loss, 1.5);
  EXPECT_THAT(totals.figures, ElementsAre(Pair("train/cosine", 0.375), Pair("train/emd", 15)));
  EXPECT_EQ(totals.images, 7);
  EXPECT_EQ(totals.damaged, 7U);
  EXPECT_TRUE(totals.is_finite());
}

TEST(StepTotals, AreNotFiniteWhereAnyFigureIsNot) {
  constexpr float kNone = std::numeric_limits<float>::quiet_NaN();
  for (const MicroBatchTotals& each : {totals_of(kNone, 0, 0, 1, 0), totals_of(0, 0, kNone, 1, 0)}) {
    const StepTotalsLayout layout(each);
    const at::Tensor sums = at::empty({layout.size()});
    layout.write(each, sums);
    EXPECT_FALSE(layout.read(sums, 1).is_finite());
  }
}

TEST(StepTotals, AMicroBatchWithOtherFiguresIsABug) {
  const StepTotalsLayout layout(totals_of(1, 1, 1, 1, 0));
  const at::Tensor room = at::empty({layout.size()});
  MicroBatchTotals other = totals_of(1, 1, 1, 1, 0);
  std::swap(other.figures[0], other.figures[1]);
  EXPECT_THROW(layout.write(other, room), runtime::CheckFailure);
}

}  // namespace
}  // namespace cskd::training
