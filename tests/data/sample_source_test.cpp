// What becomes of samples that were damaged after they were packed, in every way that a disk or a person damages them.
#include "data/sample_source.h"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <map>
#include <set>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "data/loader.h"
#include "data/render_view.h"
#include "data/sample_order.h"
#include "runtime/content_hash.h"
#include "runtime/error.h"
#include "shards/image_shard/writer.h"
#include "shards/manifest.h"
#include "tests/data/decode_pictures.h"
#include "tests/support/temporary_folder.h"

namespace cskd::data {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using tests::bytes_of;

constexpr std::uint64_t kRows = 12;  // of a shard
constexpr std::uint64_t kShards = 4;
constexpr double kAll = 1;

std::string as_text(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

// Whole chains of messages.
std::string text_of(const std::exception& error) { return runtime::describe(error, 0, 1); }

// Two sources of two shards each: numbers 0 to 23 and 24 to 47 of the set.
class DamagedCorpus : public testing::Test {
 protected:
  DamagedCorpus() { write(folder_.path(), 0); }

  void write(const std::filesystem::path& folder, std::uint32_t seed) {
    std::filesystem::create_directories(folder);
    pictures_.clear();
    manifest_.Clear();
    manifest_.set_leak_gate_passed(true);
    for (const char* name : {"coast", "city"}) {
      manifest_.add_sources()->set_name(name);
      manifest_.mutable_sources()->rbegin()->set_weight(1);
    }
    for (std::uint32_t shard = 0; shard < kShards; ++shard) {
      shards::ShardPlan plan{.file = std::to_string(shard) + ".h5",
                             .source = shard / 2,
                             .split = shards::Split::kUnlabelled,
                             .source_name = shard / 2 == 0 ? "coast" : "city"};
      const std::size_t first = pictures_.size();
      for (std::uint32_t row = 0; row < kRows; ++row) {
        const auto number = static_cast<std::uint32_t>(seed + shard * kRows + row);
        const int width = 24 + static_cast<int>(number % 7);
        pictures_.push_back(tests::jpeg(tests::scene(width, 20, number), {}));
        const std::string& picture = pictures_.back();
        plan.rows.push_back({.key = "picture " + std::to_string(number),
                             .size = picture.size(),
                             .hash = runtime::content_hash(picture),
                             .width = static_cast<std::uint16_t>(width),
                             .height = 20,
                             .format = 1});
      }
      *manifest_.add_shards() =
          shards::write_image_shard(folder, plan, [&](std::size_t row, std::span<std::byte> target) {
            std::ranges::copy(bytes_of(pictures_[first + row]), target.begin());
          });
    }
    shards::write_manifest(folder, manifest_);
  }

  std::filesystem::path path(int shard) const { return folder_.path() / manifest_.shards(shard).file(); }
  const shards::Manifest::Offsets& offsets(int shard) const { return manifest_.shards(shard).offsets(); }

  // Turns the bits of a byte.
  void flip(int shard, std::uint64_t offset) const {
    std::fstream file(path(shard), std::ios::binary | std::ios::in | std::ios::out);
    file.seekg(static_cast<std::streamoff>(offset));
    const auto byte = static_cast<char>(~file.get());
    file.seekp(static_cast<std::streamoff>(offset));
    file.put(byte);
    ASSERT_TRUE(file.flush());
  }
  // A byte in the middle of a picture.
  void flip_picture(int shard, std::uint64_t row) const {
    std::uint64_t before = 0;
    for (std::uint64_t i = 0; i < row; ++i) before += pictures_[static_cast<std::size_t>(shard) * kRows + i].size();
    flip(shard, offsets(shard).bytes() + before + 40);
  }

  cskd::tests::TemporaryFolder folder_;
  shards::Manifest manifest_;
  std::vector<std::string> pictures_;
};

// What a fresh process finds.
struct Opened {
  explicit Opened(const std::filesystem::path& folder, double most_damaged = kAll, std::uint64_t seed = 1)
      : corpus(folder),
        damage(most_damaged),
        source(corpus, seed, damage),
        set(SampleSet::of_split(corpus, shards::Split::kUnlabelled)) {}

  // The numbers that are used in place of all numbers.
  std::vector<std::uint64_t> used(const std::vector<std::string>& pictures) const {
    std::vector<std::uint64_t> numbers;
    for (std::uint64_t number = 0; number < set.size(); ++number) {
      source.with_sample(set, number, [&](const SampleSource::Sample& sample) {
        EXPECT_EQ(as_text(sample.bytes), pictures[sample.number]);
        EXPECT_EQ(set.at(sample.number), sample.ref);
        numbers.push_back(sample.number);
      });
    }
    return numbers;
  }

  Corpus corpus;
  DamageLog damage;
  SampleSource source;
  SampleSet set;
};

// Others than `damaged` stand for themselves; in their place stand others of the same source, that are sound.
void expect_stand_ins(const std::vector<std::uint64_t>& used, const std::set<std::uint64_t>& damaged) {
  ASSERT_EQ(used.size(), kShards * kRows);
  for (std::uint64_t number = 0; number < used.size(); ++number) {
    if (damaged.contains(number)) {
      EXPECT_FALSE(damaged.contains(used[number])) << number;
      EXPECT_EQ(used[number] / (2 * kRows), number / (2 * kRows)) << number;
    } else {
      EXPECT_EQ(used[number], number);
    }
  }
}

TEST_F(DamagedCorpus, SoundSamplesStandForThemselves) {
  Opened opened(folder_.path(), 0);
  expect_stand_ins(opened.used(pictures_), {});
  EXPECT_EQ(opened.damage.damaged(), 0U);
}

TEST_F(DamagedCorpus, APictureWithAFlippedByteIsReplacedTheSameEverywhere) {
  flip_picture(1, 3);
  flip_picture(2, 0);
  Opened opened(folder_.path());
  const std::vector<std::uint64_t> used = opened.used(pictures_);
  expect_stand_ins(used, {kRows + 3, 2 * kRows});
  EXPECT_GE(opened.damage.damaged(), 2U);
  EXPECT_EQ(Opened(folder_.path()).used(pictures_), used);
  std::set<std::uint64_t> stand_ins;
  for (std::uint64_t seed = 1; seed < 20; ++seed)
    stand_ins.insert(Opened(folder_.path(), kAll, seed).used(pictures_)[kRows + 3]);
  EXPECT_GT(stand_ins.size(), 5U) << "the seed chooses";
}

TEST_F(DamagedCorpus, AShardThatIsGoneIsReplacedByItsSource) {
  std::filesystem::remove(path(0));
  std::set<std::uint64_t> damaged;
  for (std::uint64_t row = 0; row < kRows; ++row) damaged.insert(row);
  expect_stand_ins(Opened(folder_.path()).used(pictures_), damaged);
}

TEST_F(DamagedCorpus, AShardThatWasCutOffIsReplacedByItsSource) {
  std::filesystem::resize_file(path(3), std::filesystem::file_size(path(3)) - 1);
  std::set<std::uint64_t> damaged;
  for (std::uint64_t row = 0; row < kRows; ++row) damaged.insert(3 * kRows + row);
  expect_stand_ins(Opened(folder_.path()).used(pictures_), damaged);
}

TEST_F(DamagedCorpus, AShardThatIsRemovedWhileItIsReadIsReadOn) {
  Opened opened(folder_.path(), 0);
  static_cast<void>(opened.corpus.shard(2));
  std::filesystem::remove(path(2));
  expect_stand_ins(opened.used(pictures_), {});
}

TEST_F(DamagedCorpus, AShardThatIsCutOffWhileItIsReadIsReplaced) {
  Opened opened(folder_.path());
  static_cast<void>(opened.corpus.shard(0));
  std::filesystem::resize_file(path(0), offsets(0).bytes() + 10);
  std::set<std::uint64_t> damaged;
  for (std::uint64_t row = 0; row < kRows; ++row) damaged.insert(row);
  expect_stand_ins(opened.used(pictures_), damaged);
}

// Another file under the same name, as long as the right one.
TEST_F(DamagedCorpus, AShardOfOtherPicturesIsNotTakenForTheRightOne) {
  const cskd::tests::TemporaryFolder other;
  const std::vector<std::string> right = pictures_;
  const shards::Manifest manifest = manifest_;
  write(other.path(), 1000);
  for (int shard = 0; shard < static_cast<int>(kShards); ++shard) {
    const std::filesystem::path found = other.path() / manifest.shards(shard).file();
    std::filesystem::copy_file(found, folder_.path() / found.filename(),
                               std::filesystem::copy_options::overwrite_existing);
    std::filesystem::resize_file(folder_.path() / found.filename(), manifest.shards(shard).file_size());
  }
  const Opened opened(folder_.path());
  for (std::uint32_t shard = 0; shard < kShards; ++shard) EXPECT_THROW(opened.corpus.shard(shard), runtime::DataError);
}

TEST_F(DamagedCorpus, EveryIndexOfAShardIsChecked) {
  using Offsets = shards::Manifest::Offsets;
  const std::map<std::string, std::uint64_t (Offsets::*)() const> datasets{{"offset", &Offsets::offset},
                                                                           {"hash", &Offsets::hash},
                                                                           {"pixel_hash", &Offsets::pixel_hash},
                                                                           {"key_bytes", &Offsets::key_bytes},
                                                                           {"key_offset", &Offsets::key_offset}};
  for (const auto& [name, place] : datasets) {
    for (const std::uint64_t byte : {0U, 5U, 17U}) {
      const std::uint64_t at = (offsets(1).*place)() + byte;
      flip(1, at);
      EXPECT_THROW(Opened(folder_.path()).corpus.shard(1), runtime::DataError) << name;
      flip(1, at);
    }
  }
  // Those of single rows count for them alone.
  flip(1, offsets(1).crc32c() + 4 * 2);
  flip(1, offsets(1).size() + 4 * 5);
  Opened opened(folder_.path());
  expect_stand_ins(opened.used(pictures_), {kRows + 2, kRows + 5});
}

TEST_F(DamagedCorpus, TheManifestOfAnotherCorpusIsFoundOut) {
  const cskd::tests::TemporaryFolder other;
  write(other.path(), 5000);
  std::filesystem::copy_file(other.path() / shards::kManifestFile, folder_.path() / shards::kManifestFile,
                             std::filesystem::copy_options::overwrite_existing);
  const Opened opened(folder_.path(), 0.001);
  try {
    opened.source.with_sample(opened.set, 7, [](const SampleSource::Sample&) { FAIL() << "it was read"; });
    FAIL() << "nothing was thrown";
  } catch (const runtime::DataError& error) {
    EXPECT_THAT(text_of(error), AllOf(HasSubstr("data.max_damaged"), HasSubstr(folder_.path().native() + "/0.h5")));
  }
}

TEST_F(DamagedCorpus, MoreDamageThanAllowedNamesTheLastOne) {
  flip_picture(0, 1);
  flip_picture(0, 2);
  const Opened opened(folder_.path(), 0.001);
  const auto nothing = [](const SampleSource::Sample&) {};
  opened.source.with_sample(opened.set, 1, nothing);
  try {
    opened.source.with_sample(opened.set, 2, nothing);
    FAIL() << "nothing was thrown";
  } catch (const runtime::DataError& error) {
    EXPECT_EQ(error.exit_code(), runtime::ExitCode::kData);
    EXPECT_THAT(text_of(error), AllOf(HasSubstr("2 of the 3 samples used so far are damaged, more than "
                                                "data.max_damaged = 0.001"),
                                      HasSubstr("0.h5 row 2 ('picture 2') is damaged: CRC-32C")));
  }
}

TEST_F(DamagedCorpus, ASourceWithoutSoundSamplesEnds) {
  std::filesystem::remove(path(0));
  std::filesystem::remove(path(1));
  const Opened opened(folder_.path());
  EXPECT_THAT([&] { opened.source.with_sample(opened.set, 0, [](const SampleSource::Sample&) {}); },
              testing::ThrowsMessage<runtime::DataError>(HasSubstr("samples of a source")));
  opened.source.with_sample(opened.set, 2 * kRows, [](const SampleSource::Sample&) {});
}

TEST_F(DamagedCorpus, WhatCannotBeUsedIsReplacedToo) {
  const Opened opened(folder_.path());
  std::vector<std::uint64_t> tried;
  opened.source.with_sample(opened.set, 5, [&](const SampleSource::Sample& sample) {
    tried.push_back(sample.number);
    if (tried.size() < 3) throw runtime::DataError("no features");
  });
  ASSERT_EQ(tried.size(), 3U);
  EXPECT_EQ(tried.front(), 5U);
  EXPECT_LT(tried.back(), 2 * kRows);
  EXPECT_EQ(opened.damage.damaged(), 2U);
  // But not what is no fault of the sample.
  EXPECT_THROW(opened.source.with_sample(opened.set, 5,
                                         [](const SampleSource::Sample&) { throw runtime::Error("no such cache"); }),
               runtime::Error);
  EXPECT_EQ(opened.damage.damaged(), 2U);
}

TEST_F(DamagedCorpus, ASampleThatMustNotBeReplacedIsLeftOut) {
  flip_picture(1, 3);
  const Opened opened(folder_.path());
  int used = 0;
  const auto count = [&](const SampleSource::Sample&) { ++used; };
  EXPECT_TRUE(opened.source.try_sample({1, 2}, count));
  EXPECT_FALSE(opened.source.try_sample({1, 3}, count));
  EXPECT_EQ(used, 1);
  EXPECT_EQ(opened.damage.damaged(), 1U);
}

// Everything together, on several threads: batches are the same however many there are, and whatever is damaged.
TEST_F(DamagedCorpus, BatchesAreTheSameOnAnyNumberOfThreads) {
  flip_picture(0, 1);
  flip_picture(3, 11);
  std::filesystem::remove(path(1));
  static constexpr std::uint64_t kBatch = 5;
  constexpr int kPictureSide = 16;
  constexpr std::size_t kPicture = std::size_t{3} * kPictureSide * kPictureSide;
  using Pixels = std::vector<std::uint8_t>;
  const auto batches = [&](int threads) {
    const Opened opened(folder_.path());
    const SampleOrder order(1, 7, opened.set.groups());
    Loader<Pixels> loader(
        threads, 3, 2, 60,
        {.begin =
             [&](std::uint64_t ticket) {
               for (const SampleUse& use : order.at(ticket * kBatch, kBatch))
                 opened.source.will_use(opened.set, use.sample);
               return Pixels(kPicture * kBatch + 1, static_cast<std::uint8_t>(ticket));
             },
         .fill =
             [&](Pixels& pixels, std::uint64_t item) {
               const SampleUse use = order.at(pixels.back() * kBatch + item, 1).front();
               opened.source.with_sample(opened.set, use.sample, [&](const SampleSource::Sample& sample) {
                 const View view = whole_view(sample.shard.width(sample.ref.row), 20, use.round % 2 == 1);
                 render_view(sample.bytes, view, kPictureSide, ResizeMode::kFast,
                             std::span(pixels).subspan(kPicture * item, kPicture));
               });
             },
         .items = [](std::uint64_t) -> std::uint64_t { return kBatch; }});
    std::vector<Pixels> all;
    for (int i = 0; i < 50; ++i) all.push_back(loader.next());
    return all;  // the loader ends while batches wait
  };
  const std::vector<Pixels> expected = batches(1);
  for (const int threads : {2, 5}) EXPECT_EQ(batches(threads), expected) << threads << " threads";
}

TEST(DamageLog, CountsTheFirstUsesAsAThousand) {
  const auto add = [](DamageLog& log) {
    try {
      throw runtime::DataError("torn");
    } catch (const runtime::DataError&) {
      log.add("a sample", "it is left out");
    }
  };
  DamageLog log(0.002);
  for (int i = 0; i < 10; ++i) log.count_use();
  add(log);
  add(log);
  EXPECT_THROW(add(log), runtime::DataError);
  EXPECT_EQ(log.damaged(), 3U);
  DamageLog later(0.002);
  for (int i = 0; i < 3000; ++i) later.count_use();
  for (int i = 0; i < 6; ++i) add(later);
  EXPECT_THROW(add(later), runtime::DataError);
  DamageLog none(0);
  for (int i = 0; i < 3000; ++i) none.count_use();
  EXPECT_THROW(add(none), runtime::DataError);
}

TEST(DamageLog, LeavesOutWhatIsNotTheRunsOwnUse) {
  const auto add = [](DamageLog& log) {
    try {
      throw runtime::DataError("torn");
    } catch (const runtime::DataError&) {
      log.add("a sample", "it is left out");
    }
  };
  DamageLog log(0);
  {
    const DamageLog::Uncounted uncounted(log);
    log.count_use();
    EXPECT_NO_THROW(add(log));
  }
  EXPECT_EQ(log.damaged(), 0U);
  EXPECT_THROW(add(log), runtime::DataError);
}

}  // namespace
}  // namespace cskd::data
