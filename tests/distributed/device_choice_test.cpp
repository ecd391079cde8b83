#include "distributed/devices/device_choice.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "runtime/error.h"

namespace cskd::distributed {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::Optional;
using testing::ThrowsMessage;
using Uuids = std::vector<std::string>;

TEST(DeviceChoice, IsTheProcessorWhereNobodySeesAGpu) {
  EXPECT_EQ(choose_gpus({{"a", 0, {}}, {"b", 0, {}}}), std::nullopt);
}

TEST(DeviceChoice, TakesTheOnlyVisibleGpuOrThatOfTheLocalRank) {
  EXPECT_THAT(choose_gpus({{"a", 0, {"GPU-1", "GPU-2"}}, {"a", 1, {"GPU-1", "GPU-2"}}, {"b", 0, {"GPU-3", "GPU-4"}}}),
              Optional(ElementsAre(0, 1, 0)));
  // One device for each, as Slurm binds them.
  EXPECT_THAT(choose_gpus({{"a", 0, {"GPU-1"}}, {"a", 1, {"GPU-2"}}}), Optional(ElementsAre(0, 0)));
}

TEST(DeviceChoice, RefusesTwoRanksOnOneGpu) {
  const Uuids one{"GPU-1"};
  EXPECT_THAT(
      [&] {
        choose_gpus({{"a", 0, {"GPU-0"}}, {"a", 1, one}, {"a", 2, one}});
      },
      ThrowsMessage<runtime::UsageError>(AllOf(HasSubstr("ranks 1 and 2 share GPU-1 on a: start one rank for each GPU"),
                                               HasSubstr("CUDA_VISIBLE_DEVICES"))));
  const Uuids two{"GPU-1", "GPU-2"};
  EXPECT_THAT(
      [&] {
        choose_gpus({{"a", 0, two}, {"a", 1, two}, {"a", 2, two}});
      },
      ThrowsMessage<runtime::UsageError>(HasSubstr("rank 2 is number 3 on a, which has 2 GPUs: ")));
}

TEST(DeviceChoice, RefusesRanksWithoutAGpuBesideOthers) {
  EXPECT_THAT(
      [] {
        choose_gpus({{"a", 0, {"GPU-1"}}, {"b", 0, {}}});
      },
      ThrowsMessage<runtime::UsageError>(HasSubstr("rank 1 on b sees no GPU, but other ranks do")));
}

TEST(DeviceChoice, TravelsAsText) {
  for (const Uuids& uuids : {Uuids{}, Uuids{"GPU-1"}, Uuids{"GPU-1", "GPU-2"}}) {
    const VisibleGpus back = unpack_gpus(pack({"host-1", 3, uuids}));
    EXPECT_EQ(back.host, "host-1");
    EXPECT_EQ(back.local_rank, 3);
    EXPECT_EQ(back.uuids, uuids);
  }
}

}  // namespace
}  // namespace cskd::distributed
