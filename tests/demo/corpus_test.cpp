#include "demo/corpus.h"

#include <algorithm>
#include <csignal>
#include <fstream>
#include <functional>
#include <map>
#include <optional>
#include <tuple>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "demo/corpus_list.h"
#include "runtime/error.h"
#include "runtime/failure_point.h"
#include "runtime/stop_signal.h"
#include "tests/support/on_ranks.h"
#include "tests/support/temporary_folder.h"

namespace cskd::demo {
namespace {

namespace fs = std::filesystem;
using runtime::Error;
using runtime::UsageError;
using testing::HasSubstr;

using runtime::World;
using tests::on_ranks;

constexpr std::chrono::seconds kLimit{120};

class CorpusTest : public testing::TestWithParam<int> {};
INSTANTIATE_TEST_SUITE_P(Ranks, CorpusTest, testing::Values(1, 2), testing::PrintToStringParamName());

// The corpus of 60 images with seed 1. A change of it is a change of the generator: raise kGeneratorVersion with it.
constexpr const char* kGoldenList = "18a1f53e417120ef36ed95db997e71ac";

// A folder that all ranks share; rank 0 makes and removes it.
class SharedFolder {
 public:
  explicit SharedFolder(World& world) : world_(world) {
    world.set_timeout(std::chrono::minutes(1));
    if (world.rank() == 0) own_.emplace();
    path_ = world.broadcast(own_ ? own_->path().native() : "");
  }
  ~SharedFolder() { world_.barrier(); }
  fs::path operator/(const char* name) const { return path_ / name; }

 private:
  World& world_;
  std::optional<tests::TemporaryFolder> own_;
  fs::path path_;
};

CorpusSummary write(World& world, const fs::path& folder, CorpusOptions options = {}) {
  options.folder = folder;
  options.images = options.images == 7500 ? 60 : options.images;
  return write_corpus(options, world, [](std::int64_t, std::int64_t) {});
}

// Every file below the folder with its contents.
std::map<std::string, std::string> contents(const fs::path& folder) {
  std::map<std::string, std::string> files;
  for (const fs::directory_entry& entry : fs::recursive_directory_iterator(folder)) {
    if (entry.is_regular_file()) files[fs::relative(entry.path(), folder)] = tests::read_file(entry.path());
  }
  return files;
}

TEST_P(CorpusTest, IsTheSameForEverySeedThreadCountAndRankCount) {
  on_ranks(GetParam(), kLimit, [](World& world) {
    const SharedFolder shared(world);
    write(world, shared / "one", {.threads = 1});
    write(world, shared / "three", {.threads = 3});
    write(world, shared / "other", {.seed = 2});
    const auto one = contents(shared / "one");
    EXPECT_EQ(one, contents(shared / "three"));
    EXPECT_NE(one.at("corpus.json"), contents(shared / "other").at("corpus.json"));
    // Equal on 1 and on 2 ranks because both equal the same constant.
    EXPECT_EQ(xxh3_of(one.at("corpus.json")), kGoldenList);
  });
}

TEST_P(CorpusTest, TheListNamesEveryFile) {
  on_ranks(GetParam(), kLimit, [](World& world) {
    const SharedFolder shared(world);
    write(world, shared / "demo");
    const CorpusList list = read_corpus_list(shared / "demo");
    auto files = contents(shared / "demo");
    EXPECT_EQ(files.size(), list.files.size() + 1);
    for (const ListedFile& file : list.files) {
      ASSERT_TRUE(files.contains(file.path)) << file.path;
      EXPECT_EQ(files[file.path].size(), file.size);
      EXPECT_EQ(xxh3_of(files[file.path]), file.xxh3);
    }
  });
}

TEST_P(CorpusTest, AnIdenticalOneIsLeftAlone) {
  on_ranks(GetParam(), kLimit, [](World& world) {
    const SharedFolder shared(world);
    EXPECT_FALSE(write(world, shared / "demo").already_there);
    const auto before = fs::last_write_time(shared / "demo" / "corpus.json");
    const CorpusSummary again = write(world, shared / "demo");
    EXPECT_TRUE(again.already_there);
    EXPECT_EQ(again.sources.size(), 5U);
    EXPECT_EQ(fs::last_write_time(shared / "demo" / "corpus.json"), before);
  });
}

TEST_P(CorpusTest, AnEmptyFolderIsFilled) {
  on_ranks(GetParam(), kLimit, [](World& world) {
    const SharedFolder shared(world);
    if (world.rank() == 0) fs::create_directory(shared / "demo");
    world.barrier();
    EXPECT_FALSE(write(world, shared / "demo").already_there);
  });
}

std::string refusal(const std::function<void()>& act) {
  try {
    act();
  } catch (const UsageError& error) {
    return error.what();
  } catch (const runtime::EchoError&) {
    return "echo";
  }
  return "was accepted";
}

// What rank 0 is told; the other ranks get an echo.
#define EXPECT_REFUSAL(act, text)                      \
  do {                                                 \
    const std::string refused = refusal([&] { act; }); \
    if (world.rank() == 0) {                           \
      EXPECT_THAT(refused, HasSubstr(text));           \
    } else {                                           \
      EXPECT_EQ(refused, "echo");                      \
    }                                                  \
  } while (false)

TEST_P(CorpusTest, AnotherCorpusIsReplacedOnlyOnRequest) {
  on_ranks(GetParam(), kLimit, [](World& world) {
    const SharedFolder shared(world);
    write(world, shared / "demo");
    EXPECT_REFUSAL(
        write(world, shared / "demo", {.seed = 2}),
        "holds another demo corpus (--images 60 --seed 1 of generator 2); choose another folder, or replace it with "
        "--overwrite");
    if (world.rank() == 0) std::ofstream(shared / "demo" / "rated" / "AVA.txt") << "changed";
    world.barrier();
    EXPECT_REFUSAL(write(world, shared / "demo"), "rated/AVA.txt is not what it was");
    EXPECT_FALSE(write(world, shared / "demo", {.seed = 2, .overwrite = true}).already_there);
    EXPECT_EQ(read_corpus_list(shared / "demo").seed, 2U);
    EXPECT_EQ(first_difference(read_corpus_list(shared / "demo"), shared / "demo", 2), "");
    EXPECT_FALSE(fs::exists(shared / "demo.partial"));
    EXPECT_FALSE(fs::exists(shared / "demo" / ".cskd-replaced"));
    EXPECT_FALSE(fs::exists(shared / "demo" / ".cskd-unfinished"));
  });
}

TEST_P(CorpusTest, WhatIsNoCorpusIsNeverReplaced) {
  on_ranks(GetParam(), kLimit, [](World& world) {
    const SharedFolder shared(world);
    if (world.rank() == 0) {
      fs::create_directory(shared / "photos");
      std::ofstream(shared / "photos" / "mine.jpg") << "precious";
      std::ofstream(shared / "file") << "precious";
    }
    world.barrier();
    EXPECT_REFUSAL(write(world, shared / "photos", {.overwrite = true}), "is not empty and holds no demo corpus");
    EXPECT_REFUSAL(write(world, shared / "file", {.overwrite = true}), "is there and is no folder");
    EXPECT_EQ(tests::read_file(shared / "photos" / "mine.jpg"), "precious");
  });
}

// Names that backups have: a run must neither take them for its own nor remove them.
TEST_P(CorpusTest, FoldersOfOtherPeopleBesideItAreLeftAlone) {
  on_ranks(GetParam(), kLimit, [](World& world) {
    const SharedFolder shared(world);
    if (world.rank() == 0) {
      for (const char* name : {"demo.old", "other.partial"}) {
        fs::create_directory(shared / name);
        std::ofstream(shared / name / "thesis.txt") << "precious";
      }
    }
    world.barrier();
    write(world, shared / "demo");
    write(world, shared / "demo", {.seed = 2, .overwrite = true});
    EXPECT_EQ(tests::read_file(shared / "demo.old" / "thesis.txt"), "precious");
    EXPECT_REFUSAL(write(world, shared / "other"), "other.partial is in the way and not what an unfinished run left");
    EXPECT_EQ(tests::read_file(shared / "other.partial" / "thesis.txt"), "precious");
    EXPECT_FALSE(fs::exists(shared / "other"));
  });
}

TEST_P(CorpusTest, ABackupOfACorpusIsNotTakenForALeftover) {
  on_ranks(GetParam(), kLimit, [](World& world) {
    const SharedFolder shared(world);
    write(world, shared / "demo.old");
    write(world, shared / "demo", {.seed = 2});
    EXPECT_EQ(read_corpus_list(shared / "demo.old").seed, 1U);
    EXPECT_EQ(read_corpus_list(shared / "demo").seed, 2U);
  });
}

TEST_P(CorpusTest, FilesAddedToACorpusAreNeverReplaced) {
  on_ranks(GetParam(), kLimit, [](World& world) {
    const SharedFolder shared(world);
    write(world, shared / "demo");
    if (world.rank() == 0) std::ofstream(shared / "demo" / "rated" / "notes.txt") << "precious";
    world.barrier();
    EXPECT_TRUE(write(world, shared / "demo").already_there);
    EXPECT_REFUSAL(write(world, shared / "demo", {.seed = 2, .overwrite = true}),
                   "holds rated/notes.txt, which is not of the demo corpus there");
    EXPECT_EQ(tests::read_file(shared / "demo" / "rated" / "notes.txt"), "precious");
  });
}

TEST_P(CorpusTest, ASymbolicLinkIsFollowed) {
  on_ranks(GetParam(), kLimit, [](World& world) {
    const SharedFolder shared(world);
    if (world.rank() == 0) {
      fs::create_directory(shared / "disk");
      fs::create_directory_symlink(shared / "disk", shared / "link");
      fs::create_directory_symlink(shared / "nowhere", shared / "broken");
    }
    world.barrier();
    write(world, shared / "link");
    EXPECT_TRUE(fs::is_symlink(shared / "link"));
    EXPECT_EQ(read_corpus_list(shared / "disk").seed, 1U);
    EXPECT_TRUE(write(world, shared / "link").already_there);
    EXPECT_REFUSAL(write(world, shared / "broken"), "is a symbolic link to a place that is not there");
  });
}

TEST_P(CorpusTest, SenselessOptionsAreRefusedOnEveryRank) {
  on_ranks(GetParam(), kLimit, [](World& world) {
    const SharedFolder shared(world);
    EXPECT_THAT([&] { write(world, shared / "demo", {.images = 59}); },
                testing::ThrowsMessage<UsageError>("--images is 59, expected 60 to 1000000"));
    EXPECT_THAT([&] { write(world, shared / "demo", {.images = 2'000'000}); },
                testing::ThrowsMessage<UsageError>("--images is 2000000, expected 60 to 1000000"));
    EXPECT_THAT([&] { write(world, shared / "demo", {.threads = -1}); },
                testing::ThrowsMessage<UsageError>("--threads is -1, expected 0 to 1024"));
  });
}

class CorpusFailure : public testing::TestWithParam<std::tuple<int, const char*>> {};

// The last rank fails where all ranks pass, rank 0 where only it does.
TEST_P(CorpusFailure, LeavesTheOldCorpusAndNothingElse) {
  const auto& [ranks, place] = GetParam();
  on_ranks(
      ranks, kLimit,
      [](World& world, const std::string& name) {
        const SharedFolder shared(world);
        const bool rank_zero_only =
            name == "demo.list" || name == "demo.rename" || name == "demo.replace" || name == "atomic_file.rename";
        const int failing = rank_zero_only ? 0 : world.size() - 1;
        for (const bool there_is_an_old_one : {false, true}) {
          if (there_is_an_old_one) write(world, shared / "demo", {.seed = 9});
          if (world.rank() == failing) runtime::arm_failure(name, 1, runtime::FailureAction::kFull);
          if (world.rank() == failing) {
            EXPECT_THAT([&] { write(world, shared / "demo", {.overwrite = true}); },
                        testing::ThrowsMessage<Error>(testing::AllOf(HasSubstr(name), HasSubstr("No space left"))));
          } else {
            EXPECT_THROW(write(world, shared / "demo", {.overwrite = true}), runtime::EchoError);
          }
          runtime::disarm_failure();
          world.barrier();
          EXPECT_FALSE(fs::exists(shared / "demo.partial"));
          EXPECT_EQ(fs::exists(shared / "demo"), there_is_an_old_one);
          if (there_is_an_old_one) {
            const CorpusList list = read_corpus_list(shared / "demo");
            EXPECT_EQ(list.seed, 9U);
            EXPECT_EQ(first_difference(list, shared / "demo", 2), "");
          }
          world.barrier();
        }
      },
      place);
}

INSTANTIATE_TEST_SUITE_P(EveryStep, CorpusFailure,
                         testing::Combine(testing::Values(1, 2),
                                          testing::Values("demo.render", "demo.write", "demo.list", "demo.rename",
                                                          "demo.replace", "atomic_file.rename")),
                         [](const auto& instance) {
                           std::string name = std::get<1>(instance.param);
                           std::replace(name.begin(), name.end(), '.', '_');
                           return name + "_" + std::to_string(std::get<0>(instance.param));
                         });

TEST_P(CorpusTest, AStopSignalEndsItCleanly) {
  on_ranks(GetParam(), kLimit, [](World& world) {
    const SharedFolder shared(world);
    {
      const runtime::StopSignal stop;
      std::raise(SIGTERM);
      EXPECT_THAT([&] { write(world, shared / "demo"); }, testing::ThrowsMessage<Error>("stopped by signal 15"));
    }
    world.barrier();
    EXPECT_FALSE(fs::exists(shared / "demo"));
    EXPECT_FALSE(fs::exists(shared / "demo.partial"));
  });
}

}  // namespace
}  // namespace cskd::demo
