#include "config/override.h"

#include <cstdlib>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "config/reader.h"
#include "runtime/error.h"

namespace cskd::config {
namespace {

const std::string kDocument = R"([run]
folder = "out"
seed = 3

[[sources]]
name = "a"
kind = "folder"
path = "photos"
)";

Config with(const std::vector<std::string>& overrides) { return parse_config(kDocument, "a.toml", "/base", overrides); }

std::string override_error(const std::vector<std::string>& overrides) {
  try {
    with(overrides);
  } catch (const runtime::UsageError& error) {
    return error.what();
  }
  return "was accepted";
}

TEST(Override, WinsOverTheFileWhichWinsOverTheDefault) {
  EXPECT_EQ(with({}).run().seed(), 3U);
  EXPECT_EQ(with({"run.seed=7"}).run().seed(), 7U);
  EXPECT_EQ(with({"run.seed=7", "run.seed=8"}).run().seed(), 8U);
  EXPECT_EQ(with({}).logging().level(), Logging::info);
  EXPECT_EQ(with({"logging.level=\"debug\""}).logging().level(), Logging::debug);
}

TEST(Override, TextNeedsNoQuotes) {
  EXPECT_EQ(with({"logging.level=debug"}).logging().level(), Logging::debug);
  EXPECT_EQ(with({"run.folder=/data/my run"}).run().folder(), "/data/my run");
  EXPECT_EQ(with({"run.folder=/7"}).run().folder(), "/7");
  EXPECT_EQ(with({"run.folder=a = b\nc = 1"}).run().folder(),
            (std::filesystem::current_path() / "a = b\nc = 1").native());
}

TEST(Override, RelativePathsStartWhereTheirAuthorWas) {
  EXPECT_EQ(with({}).run().folder(), "/base/out");
  EXPECT_EQ(with({}).sources(0).path(), "/base/photos");
  EXPECT_EQ(with({"run.folder=x"}).run().folder(), (std::filesystem::current_path() / "x").native());
}

TEST(Override, PathsMayStartAtHomeAndHoldNoVariables) {
  const char* home = std::getenv("HOME");
  ASSERT_NE(home, nullptr);
  EXPECT_EQ(with({"run.folder=~/runs"}).run().folder(), std::string(home) + "/runs");
  EXPECT_EQ(parse_config("[run]\nfolder = \"~/a\"\n", "a.toml", "/base", {}).run().folder(), std::string(home) + "/a");
  EXPECT_EQ(with({"run.folder=/data/a~b$5"}).run().folder(), "/data/a~b$5");
  for (const char* path : {"$HOME/runs", "/data/${USER}/x", "~nobody/x"})
    EXPECT_THAT(override_error({std::string("run.folder=") + path}), testing::HasSubstr("or ~/ for your home")) << path;
}

TEST(Override, ReachesElementsOfListsAndAddsOne) {
  EXPECT_EQ(with({"sources[0].path=/p"}).sources(0).path(), "/p");
  const Config config = with({"sources[1].name=b", "sources[1].kind=ava", "sources[1].path=/q"});
  ASSERT_EQ(config.sources_size(), 2);
  EXPECT_EQ(config.sources(1).kind(), Source::ava);
  EXPECT_EQ(with({R"(sources=[{name="z", kind="ava", path="/z"}])"}).sources(0).name(), "z");
}

TEST(Override, ErrorsNameTheOverride) {
  EXPECT_EQ(override_error({"run.sed=1"}),
            "--set run.sed=1: run.sed is not a key of the configuration, did you mean run.seed?");
  EXPECT_EQ(override_error({"run.seed=-1"}), "--set run.seed=-1: run.seed is -1, expected a whole number from 0");
  EXPECT_EQ(override_error({"run.seed=x"}), "--set run.seed=x: x is not a TOML value, expected a whole number from 0");
  EXPECT_EQ(override_error({"run.seed"}),
            "--set run.seed: expected KEY=VALUE, for instance run.seed=7 or sources[0].path=/photos");
  EXPECT_EQ(override_error({"=1"}), "--set =1: expected KEY=VALUE, for instance run.seed=7 or sources[0].path=/photos");
  EXPECT_EQ(override_error({"run..seed=1"}),
            "--set run..seed=1: expected KEY=VALUE, for instance run.seed=7 or sources[0].path=/photos");
  EXPECT_EQ(override_error({"sources[x].path=1"}),
            "--set sources[x].path=1: expected KEY=VALUE, for instance run.seed=7 or sources[0].path=/photos");
  for (const std::string path : {"sources[", "sources[]", "sources[0", "sources[0]x", "[0]"}) {
    EXPECT_EQ(override_error({path + "=1"}), "--set " + path +
                                                 "=1: expected KEY=VALUE, for instance run.seed=7 or "
                                                 "sources[0].path=/photos");
  }
  EXPECT_EQ(override_error({"sources[3].path=/p"}),
            "--set sources[3].path=/p: sources has 1 element, [3] is past its end");
  EXPECT_EQ(override_error({"sources[0]=1"}), "--set sources[0]=1: sources[0] is a table; name one of its keys");
  EXPECT_EQ(override_error({"run.seed.x=1"}), "--set run.seed.x=1: run.seed is 3, not a table");
  EXPECT_EQ(override_error({"run[0].seed=1"}), "--set run[0].seed=1: run is a table, not a list");
  EXPECT_EQ(override_error({"run.folder="}),
            "--set run.folder=: run.folder is \"\", expected a path in quotes, of 1 to 4096 bytes");
  EXPECT_EQ(override_error({"run=3"}), "--set run=3: run is 3, expected a table: [run]");
}

}  // namespace
}  // namespace cskd::config
