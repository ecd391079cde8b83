// The graph of a configuration: which stages there are, what they need, and in which order they come.
#include "stages/graph.h"

#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "config/reader.h"
#include "runtime/error.h"
#include "stages/model_source.h"

namespace cskd::stages {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

const std::string kBase = R"([run]
folder = "x"
[towers.clip]
architecture = "ViT-B-32"
weights = "clip.safetensors"
[towers.start]
architecture = "ViT-B-16"
weights = "start.safetensors"
[encoders.mobile]
architecture = "mobilenetv3_small_100"
image_size = 64
[encoders.pretrained]
architecture = "resnet18"
weights = "resnet18.safetensors"
)";

config::Config parse(const std::string& text) { return config::parse_config(kBase + text, "a.toml", "/base", {}); }

std::vector<std::string> ids(const std::vector<Stage>& stages) {
  std::vector<std::string> all;
  for (const Stage& stage : stages) all.push_back(stage.id());
  return all;
}

const Stage& find(const std::vector<Stage>& stages, const std::string& id) {
  return *std::ranges::find(stages, id, &Stage::id);
}

const std::string kTwoRounds = R"([align.student]
encoder = "mobile"
towers = ["clip"]
[finetune.again]
from = "distill.student"
[finetune.teacher]
from = "towers.start"
[finetune.supervised]
from = "encoders.pretrained"
[distill.last]
from = "align.student"
teachers = ["finetune.again"]
[distill.student]
from = "align.student"
teachers = ["finetune.teacher"]
)";

TEST(Graph, StagesComeBehindWhatTheyNeedOtherwiseInTheOrderOfTheFile) {
  const auto stages = graph(parse(kTwoRounds));
  EXPECT_THAT(ids(stages),
              ElementsAre("shard", "cache.clip", "align.student", "finetune.teacher", "finetune.supervised",
                          "distill.student", "finetune.again", "distill.last", "evaluate"));
  EXPECT_THAT(find(stages, "finetune.again").needs, ElementsAre("shard", "distill.student"));
  EXPECT_THAT(find(stages, "distill.student").needs, ElementsAre("shard", "align.student", "finetune.teacher"));
  EXPECT_THAT(find(stages, "align.student").needs, ElementsAre("shard", "cache.clip"));
}

TEST(Graph, TowersAndEncodersThatAStageReadsAreKnown) {
  const auto stages = graph(parse(kTwoRounds));
  EXPECT_THAT(find(stages, "align.student").tables, ElementsAre("encoders.mobile", "towers.clip"));
  EXPECT_THAT(find(stages, "finetune.teacher").tables, ElementsAre("towers.start"));
  EXPECT_THAT(find(stages, "cache.clip").tables, ElementsAre("towers.clip"));
  EXPECT_THAT(find(stages, "distill.last").tables, ElementsAre());
}

TEST(Graph, ATowerThatNobodyRefersToIsCachedOneThatOnlyStartsATrainingIsNot) {
  EXPECT_THAT(ids(graph(parse(""))), ElementsAre("shard", "cache.clip", "cache.start"));
  EXPECT_THAT(ids(graph(parse("[finetune.a]\nfrom = \"towers.start\"\n"))),
              ElementsAre("shard", "cache.clip", "finetune.a", "evaluate"));
}

TEST(Graph, JudgesAllModelsOrThoseThatAreNamedAsTheyAreTrained) {
  EXPECT_THAT(
      find(graph(parse(kTwoRounds)), "evaluate").judged,
      ElementsAre("finetune.teacher", "finetune.supervised", "distill.student", "finetune.again", "distill.last"));
  const auto two = graph(parse(kTwoRounds + "[evaluate]\nmodels = [\"distill.last\", \"finetune.supervised\"]\n"));
  EXPECT_THAT(find(two, "evaluate").judged, ElementsAre("finetune.supervised", "distill.last"));
}

TEST(Graph, KindsAndSingleStagesAreChosenInItsOrder) {
  const auto stages = graph(parse(kTwoRounds));
  EXPECT_EQ(ids(chosen(stages, {})), ids(stages));
  EXPECT_THAT(ids(chosen(stages, {"distill", "finetune.teacher"})),
              ElementsAre("finetune.teacher", "distill.student", "distill.last"));
  try {
    chosen(stages, {"distill.lst"});
    FAIL() << "was accepted";
  } catch (const runtime::UsageError& error) {
    EXPECT_THAT(error.what(), HasSubstr("no stage 'distill.lst', did you mean 'distill.last'?"));
  }
}

TEST(ModelSource, LeadsToTheArchitectureThroughAllThatWasTrainedFromIt) {
  const config::Config config = parse(kTwoRounds);
  const ModelSource source = model_source(config, "finetune.again");
  EXPECT_EQ(source.key, "encoders.mobile.architecture");
  EXPECT_EQ(source.architecture, "mobilenetv3_small_100");
  EXPECT_EQ(source.image_size, 64);
  EXPECT_TRUE(source.is_trained);
  EXPECT_FALSE(model_source(config, "encoders.mobile").is_trained);
  EXPECT_TRUE(model_source(config, "encoders.pretrained").is_trained);
  EXPECT_EQ(model_source(config, "towers.start").architecture, "ViT-B-16");
}

}  // namespace
}  // namespace cskd::stages
