// Tables with names, references between them, and the form of before there were any.
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "config/reader.h"
#include "config/references.h"
#include "config/toml_writer.h"
#include "runtime/error.h"

namespace cskd::config {
namespace {

using testing::HasSubstr;
using testing::StartsWith;

const std::string kGraph = R"([run]
folder = "x"
[towers.clip]
architecture = "ViT-B-32"
weights = "clip.safetensors"
[encoders.mobile]
architecture = "mobilenetv3_small_100"
[align.student]
encoder = "mobile"
towers = ["clip"]
training.steps = 7
[align.teacher]
encoder = "mobile"
towers = ["clip"]
[finetune.teacher]
from = "align.teacher"
[distill.student]
from = "align.student"
teachers = ["finetune.teacher"]
)";

Config parse(const std::string& text, const std::vector<std::string>& overrides = {}) {
  return parse_config(text, "a.toml", "/base", overrides);
}

std::string error_of(const std::string& text, const std::vector<std::string>& overrides = {}) {
  try {
    parse(text, overrides);
  } catch (const runtime::UsageError& error) {
    return error.what();
  }
  return "was accepted";
}

// kGraph with one line in place of another.
std::string changed(const std::string& line, const std::string& other) {
  std::string text = kGraph;
  const std::size_t at = text.find(line);
  EXPECT_NE(at, std::string::npos) << line;
  return text.replace(at, line.size(), other);
}

TEST(NamedTables, ComeInTheOrderOfTheFileEachWithItsNameAndDefaults) {
  const Config config = parse(kGraph);
  ASSERT_EQ(config.align_size(), 2);
  EXPECT_EQ(config.align(0).name(), "student");
  EXPECT_EQ(config.align(0).training().steps(), 7U);
  EXPECT_EQ(config.align(1).name(), "teacher");
  EXPECT_EQ(config.align(1).training().steps(), 1000U);
  EXPECT_EQ(config.towers(0).weights(), "/base/clip.safetensors");
  EXPECT_EQ(to_toml(parse(to_toml(config))), to_toml(config));
  EXPECT_THAT(to_toml(config), HasSubstr("\n[align.student.training]\nsteps = 7\n"));
}

TEST(NamedTables, AreReachedByTheirNamesFromTheCommandLine) {
  const Config config = parse(kGraph, {"align.teacher.training.steps=9", "encoders.other.architecture=resnet18"});
  EXPECT_EQ(config.align(0).training().steps(), 7U);
  EXPECT_EQ(config.align(1).training().steps(), 9U);
  EXPECT_EQ(config.encoders(1).name(), "other");
  EXPECT_THAT(error_of(kGraph, {"align.studnt.training.steps=9"}), HasSubstr("did you mean align.student?"));
  EXPECT_THAT(error_of(kGraph, {"align.training.steps=9"}), HasSubstr("align.training cannot be the name of a table"));
}

TEST(NamedTables, NameTheirSettings) {
  std::vector<std::string> names;
  for (const auto& [name, value] : settings_of(parse(kGraph), "")) names.push_back(name);
  EXPECT_THAT(names, testing::IsSupersetOf(
                         {"towers.clip.views.count", "align.student.encoder", "distill.student.training.steps"}));
  EXPECT_THAT(names, testing::Not(testing::Contains(testing::EndsWith("student.name"))));
}

TEST(NamedTables, WhatIsNoneIsRefused) {
  EXPECT_THAT(error_of(changed("[align.teacher]", "[align.Teacher]")),
              HasSubstr("a.toml:12:8: align.Teacher has no fit name"));
  EXPECT_EQ(
      error_of(kGraph + "[encoders.mobile.training]\n"),
      "a.toml:20:18: encoders.mobile.training is not a key of the configuration, did you mean align.NAME.training?");
  EXPECT_EQ(error_of(kGraph + "[towers]\nclip2 = 3\n"),
            "a.toml:21:9: towers.clip2 is 3, expected a table: [towers.NAME] with its keys below");
  EXPECT_EQ(error_of("towers = 3\n[run]\nfolder=\"x\"\n"),
            "a.toml:1:10: towers is 3, expected tables with names: [towers.NAME]");
  EXPECT_THAT(error_of(changed("encoder = \"mobile\"\n", "")), HasSubstr("align.student.encoder is missing"));
  EXPECT_THAT(error_of(changed("teachers = [\"finetune.teacher\"]", "teachers = []")),
              HasSubstr("distill.student.teachers has 0 elements, expected 1 to 8"));
}

// A key that came when there were results already is no part of what they were made from, until someone sets it.
TEST(NamedTables, KeysThatCameLaterDecideOnceTheyAreSet) {
  const auto decisive = [](const std::string& text) {
    std::vector<std::string> names;
    for (const auto& [name, value] : settings_of(parse(text).distill(0), "distill.student", Keys::kDecisive))
      names.push_back(name);
    return names;
  };
  const std::string head = "distill.student.head";
  for (const char* key : {"head", "answers", "rank.weight", "rank.margin", "supervised_weight", "feature_weight"})
    EXPECT_THAT(decisive(kGraph), testing::Not(testing::Contains(std::string("distill.student.") + key)));
  EXPECT_THAT(decisive(changed("teachers = ", "head = \"own\"\nteachers = ")), testing::Not(testing::Contains(head)));
  EXPECT_THAT(decisive(changed("teachers = ", "head = \"teacher\"\nteachers = ")), testing::Contains(head));
  EXPECT_THAT(decisive(kGraph), testing::Contains("distill.student.consistency_weight"));
  EXPECT_THAT(decisive(changed("teachers = ", "rank.weight = 0.5\nteachers = ")),
              testing::Contains("distill.student.rank.weight"));
}

TEST(References, AreKnownByTableAndKey) {
  std::vector<std::string> found;
  for (const Reference& each : references_in(parse(kGraph)))
    found.push_back(each.table + " " + each.key + " " + each.target);
  EXPECT_THAT(found, testing::ElementsAre("align.student align.student.encoder encoders.mobile",
                                          "align.student align.student.towers[0] towers.clip",
                                          "align.teacher align.teacher.encoder encoders.mobile",
                                          "align.teacher align.teacher.towers[0] towers.clip",
                                          "finetune.teacher finetune.teacher.from align.teacher",
                                          "distill.student distill.student.from align.student",
                                          "distill.student distill.student.teachers[0] finetune.teacher"));
}

TEST(References, ToNoTableAreRefusedWithTheirPlaceAndTheNearest) {
  EXPECT_EQ(
      error_of(changed("encoder = \"mobile\"", "encoder = \"mobil\"")),
      "a.toml:9:11: align.student.encoder is \"mobil\", but there is no [encoders.mobil], did you mean \"mobile\"?");
  EXPECT_EQ(error_of(changed("[\"finetune.teacher\"]", "[\"finetune.techer\"]")),
            "a.toml:19:13: distill.student.teachers[0] is \"finetune.techer\", but there is no [finetune.techer], did "
            "you mean "
            "\"finetune.teacher\"?");
  EXPECT_EQ(error_of(changed("[\"finetune.teacher\"]", "[\"align.teacher\"]")),
            "a.toml:19:13: distill.student.teachers[0] is \"align.teacher\", expected one of ridge.NAME, "
            "finetune.NAME, distill.NAME, did you mean \"finetune.teacher\"?");
  EXPECT_THAT(error_of(changed("from = \"align.teacher\"", "from = \"teacher\"")),
              HasSubstr("did you mean \"align.teacher\"?"));
  EXPECT_THAT(error_of("[run]\nfolder = \"x\"\n[finetune.a]\nfrom = \"towers.b\"\n"),
              HasSubstr("there is no [towers.b]"));
}

TEST(References, CirclesAreNamedInFull) {
  const std::string text = changed("from = \"align.teacher\"", "from = \"distill.student\"");
  EXPECT_EQ(error_of(text),
            "a.toml:19:13: distill.student is made from finetune.teacher (distill.student.teachers[0]), "
            "finetune.teacher is made "
            "from distill.student (finetune.teacher.from), a circle: one of them must start from something else");
  EXPECT_THAT(error_of(changed("from = \"align.teacher\"", "from = \"finetune.teacher\"")),
              StartsWith("a.toml:16:8: finetune.teacher is made from finetune.teacher"));
}

TEST(References, ChainsOfManyThousandsAreWalked) {
  std::string text = "[run]\nfolder = \"x\"\n";
  constexpr int kLength = 3000;
  for (int i = 0; i < kLength; ++i)
    text += "[finetune.f" + std::to_string(i) + "]\nfrom = \"finetune.f" + std::to_string((i + 1) % kLength) + "\"\n";
  EXPECT_THAT(error_of(text), HasSubstr("a circle"));
}

TEST(OldForm, IsRefusedWithTheNewFormOfTheVeryTables) {
  const std::string error = error_of(R"([run]
folder = "x"
[clip]
encoder = "ViT-L-14-quickgelu"
weights = "a \"b\".safetensors"
[cache]
views = 6
[align]
encoder = "resnet18"
cosine_weight = 0.5
[align.training]
falls = [3, 4]
optimizer = "sgd"
[finetune]
start = "clip"
encoder = "ViT-L-14-quickgelu"
[baseline.training]
steps = 9
[distill]
start = "random"
variance_penalty = 2.5
)");
  EXPECT_THAT(error, StartsWith("a.toml:3:2: towers, encoders and stages are tables with names now"));
  const std::string form = error.substr(error.find("  [towers"));
  EXPECT_EQ(form, R"(  [towers.clip]
  architecture = "ViT-L-14-quickgelu"
  weights = "a \"b\".safetensors"
  views.count = 6

  [encoders.student]
  architecture = "resnet18"

  [align.student]
  encoder = "student"
  towers = ["clip"]
  cosine_weight = 0.5

  [align.student.training]
  falls = [3, 4]
  optimizer = "sgd"

  [finetune.teacher]
  from = "towers.clip"

  [finetune.supervised]
  from = "encoders.student"

  [finetune.supervised.training]
  steps = 9

  [distill.student]
  from = "encoders.student"
  teachers = ["finetune.teacher"]
  variance_penalty = 2.5
)");
  const Config config = parse("[run]\nfolder = \"x\"\n" + form);
  EXPECT_EQ(config.align(0).training().optimizer(), Training::sgd);
  EXPECT_EQ(config.towers(0).weights(), "/base/a \"b\".safetensors");
}

TEST(OldForm, ItsPartsAloneAreRecognised) {
  for (const char* text :
       {"[clip]\n", "[cache]\nviews = 2\n", "[baseline.training]\nsteps = 3\n", "[align]\nimage_size = 3\n",
        "[finetune.training]\nsteps = 3\n", "[distill]\nlabelled_batch = 3\n"})
    EXPECT_THAT(error_of(std::string("[run]\nfolder = \"x\"\n") + text), HasSubstr("are tables with names now"))
        << text;
}

}  // namespace
}  // namespace cskd::config
