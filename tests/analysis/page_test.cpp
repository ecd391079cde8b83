#include "analysis/page.h"

#include <limits>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "analysis/findings.h"
#include "runtime/error.h"

namespace cskd::analysis {
namespace {

using testing::HasSubstr;
using testing::Not;

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
constexpr const char* kHostile = "</style></title><script>alert(1)</script>\"'><img src=x onerror=alert(2)>\xff";

ModelFindings with_attention(const std::string& name) {
  ModelFindings model{.name = name, .encoder = "ViT-demo-16", .image_size = 128, .width = 4, .grid = 2};
  for (int layer = 0; layer < 3; ++layer) {
    model.layers.push_back({.layer = layer,
                            .grid = 2,
                            .heads = {{.distance = 0.4, .entropy = 1, .entropy_share = 0.7}, {.distance = 0.3}},
                            .head_similarity = 0.5,
                            .histogram = {0.5, 0.5}});
  }
  model.affinity = AffinityFigures{.grid = 2, .figures = {.distance = 0.2}, .histogram = {1, 0}};
  model.collapse = {.rank_me = 3, .direction_std = 0.4, .uniformity = -2, .singular_values = {3, 2, 1, 0}, .cka = {}};
  model.collapse.cka[name] = 0.5;
  model.probes = {{.fraction = 1,
                   .labels = 100,
                   .alpha = 0.1,
                   .linear_srcc = {0.5, 0.4, 0.6},
                   .neighbour_srcc = {kNan, kNan, kNan},
                   .linear_plcc = 0.5,
                   .neighbours = 20},
                  {.fraction = 0.01, .labels = 1, .reason = "too few"}};
  model.maps = {{.what = "layer 1", .grid = 2, .pictures = {{1, 2, 0, 1}}}};
  return model;
}

Findings findings() {
  Findings found{.split = "unlabelled",
                 .wanted = 100,
                 .found = 60,
                 .unreadable = 1,
                 .seed = 7,
                 .probe_split = "test",
                 .probe_pictures = 50,
                 .models = {with_attention("towers.clip")},
                 .shown = {{.key = kHostile, .jpeg = "jpeg"}}};
  ModelFindings plain{.name = "encoders.mobile", .encoder = "mobilenet", .image_size = 32, .width = 4, .grid = 1};
  plain.is_trained = false;
  plain.no_attention = "this encoder has no attention maps";
  plain.no_affinity = "its grid is 1 x 1";
  plain.collapse = {.rank_me = 1, .direction_std = 0, .uniformity = 0, .singular_values = {1, 0, 0, 0}, .cka = {}};
  plain.collapse.cka["towers.clip"] = kNan;
  found.models.push_back(plain);
  return found;
}

TEST(Page, EscapesNamesOfFiles) {
  const std::string page = to_page(findings());
  EXPECT_THAT(page, Not(HasSubstr("<script")));
  EXPECT_THAT(page, Not(HasSubstr("<img src=x")));
  EXPECT_THAT(page, HasSubstr("&lt;script&gt;alert(1)&lt;/script&gt;&quot;&#39;&gt;"));
}

TEST(Page, AsksTheNetworkForNothing) {
  const std::string page = to_page(findings());
  EXPECT_THAT(page, HasSubstr("default-src 'none'"));
  EXPECT_THAT(page, Not(HasSubstr("http:")));
  EXPECT_THAT(page, Not(HasSubstr("https:")));
}

TEST(Page, TellsWhatIsMissingAndWhy) {
  const std::string page = to_page(findings());
  EXPECT_THAT(page, HasSubstr("100 were wanted, the split has 60. 1 could not be read."));
  EXPECT_THAT(page, HasSubstr("this encoder has no attention maps"));
  EXPECT_THAT(page, HasSubstr("its grid is 1 x 1"));
  EXPECT_THAT(page, HasSubstr("towers.clip: too few, with 1 %"));
  EXPECT_THAT(page, Not(HasSubstr("nan")));
}

TEST(Page, IsMadeOfTheLeastThereCanBe) {
  Findings least{.split = "test", .wanted = 2, .found = 2, .no_probes = "there are no labels", .models = {}};
  least.models.push_back(findings().models.back());
  EXPECT_THAT(to_page(least), HasSubstr("There are none: there are no labels."));
}

TEST(Json, HoldsFiguresAndNullForWhatIsNotFinite) {
  const auto document = nlohmann::json::parse(to_json(findings()));
  EXPECT_EQ(document["pictures"]["measured"], 59);
  EXPECT_EQ(document["models"][0]["attention"][2]["heads"][0]["distance"], 0.4);
  EXPECT_EQ(document["models"][0]["rank_me_limit"], 4);
  EXPECT_EQ(document["models"][0]["direction_std_limit"], 0.5);
  EXPECT_TRUE(document["models"][0]["probes"][0]["neighbour_srcc"]["value"].is_null());
  EXPECT_EQ(document["models"][0]["probes"][1]["reason"], "too few");
  EXPECT_TRUE(document["models"][1]["affinity"].is_null());
  EXPECT_TRUE(document["models"][1]["cka"]["towers.clip"].is_null());
}

TEST(Csv, HasALineForEachFigure) {
  const std::string table = to_csv(findings());
  EXPECT_THAT(table, HasSubstr("model,figure,layer,head,label_fraction,value\n"));
  EXPECT_THAT(table, HasSubstr("\ntowers.clip,attention_distance,2,1,,0.3\n"));
  EXPECT_THAT(table, HasSubstr("\ntowers.clip,linear_srcc,,,1,0.5\n"));
  EXPECT_THAT(table, HasSubstr("\nencoders.mobile,cka towers.clip,,,,\n"));
}

TEST(Table, TellsTheMainFigures) {
  const std::string text = table_of(to_json(findings()), "analysis.json");
  EXPECT_THAT(text, HasSubstr("CKA towers.clip"));
  EXPECT_THAT(text, HasSubstr("over 59 pictures of the unlabelled split"));
  EXPECT_THAT(text, HasSubstr("its grid is 1 x 1"));
  EXPECT_THAT(text, HasSubstr("[0.400, 0.600]"));
  EXPECT_THAT(text, HasSubstr("too few"));
}

TEST(Table, OfADamagedFileNamesIt) {
  for (const char* damaged : {"", "{", "{}", R"({"models": 3, "pictures": {}})"}) {
    try {
      table_of(damaged, "run/analyze/analysis.json");
      ADD_FAILURE() << damaged;
    } catch (const runtime::DataError& error) {
      EXPECT_THAT(error.what(), HasSubstr("run/analyze/analysis.json is damaged"));
    }
  }
}

}  // namespace
}  // namespace cskd::analysis
