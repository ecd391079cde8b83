// Compared with all pairs, one by one; on 1 and 2 ranks.
#include "packing/duplicates.h"

#include <bit>
#include <cstdlib>
#include <map>
#include <random>
#include <tuple>

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/packing/index_records.h"
#include "tests/support/on_ranks.h"

namespace cskd::packing {
namespace {

using shards::Split;
using tests::MadePicture;

using runtime::World;
using tests::on_ranks;

constexpr std::chrono::seconds kLimit{60};

class DuplicatesTest : public testing::TestWithParam<int> {};
INSTANTIATE_TEST_SUITE_P(Ranks, DuplicatesTest, testing::Values(1, 2), testing::PrintToStringParamName());

std::vector<Drop> losses_of(World& world, const std::vector<MadePicture>& pictures, DuplicateRules rules = {}) {
  const std::filesystem::path folder =
      std::filesystem::temp_directory_path() /
      fmt::format("duplicates-{}", world.broadcast(std::to_string(std::random_device{}())));
  if (world.rank() == 0) {
    std::filesystem::create_directory(folder);
    // Two files, as of two ranks.
    const auto middle = pictures.begin() + static_cast<std::ptrdiff_t>(pictures.size() / 3);
    tests::write_index(folder / "index-0", {pictures.begin(), middle});
    tests::write_index(folder / "index-1", {middle, pictures.end()});
  }
  world.barrier();
  const SampleIndex index({folder / "index-0", folder / "index-1"});
  const std::vector<Drop> drops = tests::records_of(find_drops(index, rules, world, folder));
  // Of its working files nothing but the result is left.
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(folder), {}), 5);
  world.barrier();
  if (world.rank() == 0) std::filesystem::remove_all(folder);
  return drops;
}

TEST_P(DuplicatesTest, OfEqualPicturesOneStays) {
  on_ranks(GetParam(), kLimit, [](World& world) {
    const auto drops = losses_of(world, {{.key = "1", .pixels = "x"},
                                         {.key = "2", .pixels = "y", .phash = ~0ULL},
                                         {.key = "3", .pixels = "x"},
                                         {.key = "1", .pixels = "y", .phash = ~0ULL, .source = 1}});
    EXPECT_THAT(drops, testing::ElementsAre(Drop{2, 0, DropKind::kDuplicate}, Drop{3, 1, DropKind::kDuplicate}));
  });
}

TEST_P(DuplicatesTest, CopiesOfTestPicturesLeak) {
  on_ranks(GetParam(), kLimit, [](World& world) {
    const auto drops = losses_of(world, {{.key = "a", .pixels = "x"},
                                         {.key = "t", .pixels = "x", .split = Split::kTest},
                                         {.key = "u", .pixels = "x", .split = Split::kTrain},
                                         {.key = "v", .pixels = "x", .split = Split::kValidation},
                                         {.key = "n", .pixels = "n", .split = Split::kTrain, .phash = 0x3F}});
    EXPECT_THAT(drops, testing::ElementsAre(Drop{0, 1, DropKind::kLeaked}, Drop{2, 1, DropKind::kLeaked},
                                            Drop{3, 1, DropKind::kLeaked}, Drop{4, 1, DropKind::kNearlyLeaked}));
  });
}

TEST_P(DuplicatesTest, TestSplitsStayWhole) {
  on_ranks(GetParam(), kLimit, [](World& world) {
    EXPECT_TRUE(losses_of(world, {{.key = "1", .pixels = "x", .split = Split::kTest},
                                  {.key = "2", .pixels = "x", .split = Split::kTest},
                                  {.key = "3", .pixels = "y", .split = Split::kTest, .phash = 1}})
                    .empty());
  });
}

TEST_P(DuplicatesTest, LabelsStayBeforeUnlabelledPictures) {
  on_ranks(GetParam(), kLimit, [](World& world) {
    const auto drops =
        losses_of(world, {{.key = "1", .pixels = "x"}, {.key = "u", .pixels = "x", .split = Split::kTrain}});
    EXPECT_THAT(drops, testing::ElementsAre(Drop{0, 1, DropKind::kDuplicate}));
  });
}

TEST_P(DuplicatesTest, FaultyPicturesAreNobodysDuplicate) {
  on_ranks(GetParam(), kLimit, [](World& world) {
    EXPECT_TRUE(losses_of(world, {{.key = "1", .pixels = "x", .faulty = true}, {.key = "2", .pixels = "x"}}).empty());
  });
}

TEST_P(DuplicatesTest, WhatIsPackedIsRecognisedByItsKey) {
  on_ranks(GetParam(), kLimit, [](World& world) {
    const auto drops =
        losses_of(world, {{.key = "1", .pixels = "x", .packed = true},
                          {.key = "1", .pixels = "x"},
                          {.key = "2", .pixels = "x"},
                          {.key = "3", .pixels = "z", .split = Split::kTest, .phash = ~0ULL, .packed = true},
                          {.key = "3", .pixels = "z", .split = Split::kTest, .phash = ~0ULL}});
    // (Records of packed rows come first in a real index; the rule does not need it here.)
    EXPECT_THAT(drops, testing::ElementsAre(Drop{1, 0, DropKind::kPacked}, Drop{2, 0, DropKind::kDuplicate},
                                            Drop{4, 3, DropKind::kPacked}));
  });
}

TEST_P(DuplicatesTest, APackedPictureGoesWhenItTurnsOutToBeATestPicture) {
  on_ranks(GetParam(), kLimit, [](World& world) {
    const auto drops = losses_of(world, {{.key = "1", .pixels = "x", .packed = true},
                                         {.key = "2", .pixels = "near", .phash = 3, .packed = true},
                                         {.key = "t", .pixels = "x", .split = Split::kTest, .source = 1}});
    EXPECT_THAT(drops, testing::ElementsAre(Drop{0, 2, DropKind::kLeaked}, Drop{1, 2, DropKind::kNearlyLeaked}));
  });
}

TEST_P(DuplicatesTest, DifferentThumbnailsAreDifferentPictures) {
  on_ranks(GetParam(), kLimit, [](World& world) {
    const MadePicture one{.key = "1", .pixels = "x", .level = 100};
    EXPECT_EQ(losses_of(world, {one, {.key = "2", .pixels = "y", .level = 104}}).size(), 1U);
    EXPECT_EQ(losses_of(world, {one, {.key = "2", .pixels = "y", .level = 105}}).size(), 0U);
  });
}

TEST_P(DuplicatesTest, NearDuplicatesMayStayButLeaksGo) {
  on_ranks(GetParam(), kLimit, [](World& world) {
    const auto drops = losses_of(world,
                                 {{.key = "1", .pixels = "x"},
                                  {.key = "2", .pixels = "y"},
                                  {.key = "3", .pixels = "z", .split = Split::kTrain, .phash = 0xFFFF},
                                  {.key = "t", .pixels = "t", .split = Split::kValidation, .phash = 0xFFFE}},
                                 {.drop_near = false});
    EXPECT_THAT(drops, testing::ElementsAre(Drop{2, 3, DropKind::kNearlyLeaked}));
  });
}

TEST_P(DuplicatesTest, AChainKeepsEveryOtherLink) {
  on_ranks(GetParam(), kLimit, [](World& world) {
    std::vector<MadePicture> chain;
    for (int i = 0; i < 7; ++i) {
      const std::string name = std::to_string(i);
      chain.push_back({.key = name, .pixels = name, .phash = (1ULL << (4 * i)) - 1});
    }
    std::vector<std::uint64_t> dropped_pictures;
    for (const Drop& drop : losses_of(world, chain, {.distance = 4})) dropped_pictures.push_back(drop.dropped);
    EXPECT_THAT(dropped_pictures, testing::ElementsAre(1, 3, 5));
  });
}

// All pairs, by the words of Note [Who stays].
std::vector<Drop> one_by_one(const std::vector<MadePicture>& pictures, const DuplicateRules& rules) {
  const auto held_out = [](Split split) { return split >= Split::kValidation; };
  const auto goes = [](const MadePicture& better, const MadePicture& worse) {
    return worse.split != Split::kTest && (worse.split != Split::kValidation || better.split == Split::kTest);
  };
  std::vector<std::uint32_t> order(pictures.size());
  for (std::uint32_t i = 0; i < order.size(); ++i) order[i] = i;
  std::stable_sort(order.begin(), order.end(), [&](auto a, auto b) { return pictures[a].split > pictures[b].split; });
  std::map<std::uint32_t, Drop> drops;
  const auto lose = [&](std::uint32_t dropped, std::uint32_t kept, bool near) {
    const bool leaks = held_out(pictures[kept].split);
    drops[dropped] = {dropped, kept,
                      near ? (leaks ? DropKind::kNearlyLeaked : DropKind::kNearDuplicate)
                           : (leaks ? DropKind::kLeaked : DropKind::kDuplicate)};
  };
  // First the same pixels, then the same hash, then near hashes.
  for (const int step : {0, 1, 2}) {
    const std::map<std::uint32_t, Drop> before = drops;
    for (std::size_t j = 0; j < order.size(); ++j) {
      const MadePicture& worse = pictures[order[j]];
      if (before.contains(order[j]) || worse.faulty) continue;
      for (std::size_t i = 0; i < j; ++i) {
        const MadePicture& better = pictures[order[i]];
        if (drops.contains(order[i]) || better.faulty || !goes(better, worse)) continue;
        const int bits = std::popcount(better.phash ^ worse.phash);
        const bool equals =
            step == 0 ? better.pixels == worse.pixels
                      : std::abs(better.level - worse.level) <= 4 && (step == 1 ? bits == 0 : bits <= rules.distance);
        if (!equals || (step > 0 && !rules.drop_near && !held_out(better.split))) continue;
        lose(order[j], order[i], step > 0);
        break;
      }
    }
  }
  std::vector<Drop> result;
  for (const auto& [dropped, drop] : drops) result.push_back(drop);
  return result;
}

TEST_P(DuplicatesTest, EqualAllPairsOneByOne) {
  on_ranks(GetParam(), kLimit, [](World& world) {
    std::mt19937_64 random(7);
    for (int round = 0; round < 30; ++round) {
      std::vector<MadePicture> pictures;
      for (int i = 0; i < 400; ++i) {
        MadePicture picture{.key = std::to_string(i),
                            .pixels = std::to_string(random() % 300),
                            .split = static_cast<Split>(random() % 4),
                            .source = static_cast<std::uint32_t>(random() % 3),
                            .faulty = random() % 20 == 0};
        // Pixels decide what a picture looks like.
        std::mt19937_64 look(std::stoull(picture.pixels));
        picture.phash = look() % 40 * 0x0123456789ABCDEF;
        for (std::uint64_t flips = look() % 5; flips > 0; --flips) picture.phash ^= 1ULL << look() % 64;
        picture.level = static_cast<std::uint8_t>(look() % 12);
        pictures.push_back(picture);
      }
      // As much memory as for 2 to 100 hashes in every second round: sorting and searching go in many parts.
      const DuplicateRules rules{.distance = static_cast<int>(round % 7),
                                 .drop_near = round % 3 != 0,
                                 .threads = 1 + round % 2,
                                 .memory = round % 2 == 0 ? 512ULL << 20 : 32 * (2 + random() % 98)};
      ASSERT_EQ(losses_of(world, pictures, rules), one_by_one(pictures, rules)) << round;
    }
  });
}

}  // namespace
}  // namespace cskd::packing
