#include "demo/caption.h"

#include <functional>
#include <map>
#include <regex>
#include <set>
#include <sstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "demo/caption_list.h"
#include "demo/surroundings.h"

namespace cskd::demo {
namespace {

using testing::HasSubstr;
using testing::Not;

Scene boat_at_dusk() {
  Scene scene;
  scene.width = 300;
  scene.height = 200;
  scene.light = Light::kDusk;
  scene.weather = Weather::kCloudy;
  scene.horizon = 1.0F / 3;
  scene.tilt = -0.1F;
  scene.sun_x = 0.1F;
  scene.hue = 200;
  scene.saturation = 0.3F;
  scene.subject = {.thing = Thing::kBoat, .x = 2.0F / 3, .y = 0.8F, .size = 0.4F, .hue = 355, .saturation = 0.8F};
  scene.clutter = {{.thing = Thing::kBall}, {.thing = Thing::kPerson}, {.thing = Thing::kBall}};
  scene.background_blur = 0.02F;
  scene.exposure = -0.7F;
  scene.noise = 4;
  scene.vignette = 0.3F;
  return scene;
}

std::string caption_of(const std::function<void(Scene&)>& change) {
  Scene scene = boat_at_dusk();
  change(scene);
  return caption(scene);
}

const Style kAnyStyle{.places = {Place::kSea, Place::kMountains, Place::kMeadow, Place::kCity, Place::kTable,
                                 Place::kForest, Place::kDesert, Place::kSnow},
                      .noise_high = 12};

std::vector<std::string> clauses_of(const std::string& caption) {
  std::vector<std::string> clauses;
  for (size_t start = 0; start < caption.size();) {
    const size_t end = std::min(caption.find(", ", start), caption.size());
    clauses.push_back(caption.substr(start, end - start));
    start = end + 2;
  }
  return clauses;
}

TEST(Caption, TellsEveryFactInOneSentence) {
  EXPECT_EQ(
      caption(boat_at_dusk()),
      "a picture of the sea at dusk, under a cloudy sky, the light comes from the left, the subject is a red "
      "boat, the subject is near, the subject stands in the right third, the subject's middle is at the lower "
      "third, the horizon is high, the horizon rises steeply to the right, a few small things stand around, "
      "around are a small person and small balls, the surroundings are muted azure, the subject is sharp, the "
      "background is strongly blurred, the exposure is dark, the contrast is medium, the grain is visible, the "
      "corners are dark, in focus before a soft background, an evenly exposed photo, a photo of plain tones, a lively "
      "scene, a close-up, it has the opposite colour of its surroundings, it stands on a crossing of the thirds");
}

TEST(Caption, NamesTwelveHuesByTheirMiddles) {
  const std::vector<std::string> names{"red",  "orange", "yellow", "lime",   "green",   "emerald",
                                       "cyan", "azure",  "blue",   "violet", "magenta", "pink"};
  for (int degrees = -360; degrees < 720; degrees += 5) {
    if (degrees % 30 == 15 || degrees % 30 == -15) continue;  // between two names
    const size_t nearest = static_cast<size_t>((degrees + 360 + 15) / 30) % 12;
    const std::string text = caption_of([&](Scene& s) { s.hue = static_cast<float>(degrees); });
    EXPECT_THAT(text, HasSubstr("the surroundings are muted " + names[nearest])) << degrees;
  }
  EXPECT_THAT(caption_of([](Scene& s) { s.subject.hue = 30; }), HasSubstr("is an orange boat"));
  EXPECT_THAT(caption_of([](Scene& s) { s.hue = 344.99F; }), HasSubstr("muted pink"));
}

TEST(Caption, TellsTheLookOfTheWhole) {
  const auto with_hue = [](float degrees) {
    return caption_of([&](Scene& s) {
      s.hue = 350;
      s.subject.hue = degrees;
    });
  };
  EXPECT_THAT(with_hue(10), HasSubstr("it has the colour of its surroundings"));
  EXPECT_THAT(with_hue(40), HasSubstr("it has a colour next to that of its surroundings"));
  EXPECT_THAT(with_hue(80), HasSubstr("it has another colour than its surroundings"));
  EXPECT_THAT(with_hue(170), HasSubstr("it has the opposite colour of its surroundings"));
  EXPECT_THAT(with_hue(210), HasSubstr("it has nearly the opposite colour of its surroundings"));
  EXPECT_THAT(caption_of([](Scene& s) { s.subject.x = 0.5F; }), HasSubstr("far from a crossing of the thirds"));
  EXPECT_THAT(caption_of([](Scene& s) { s.subject_blur = 0.01F; }), HasSubstr(", a blurred photo, "));
  EXPECT_THAT(caption_of([](Scene& s) { s.exposure = -1; }), HasSubstr("an underexposed photo"));
  EXPECT_THAT(caption_of([](Scene& s) { s.sun_x = s.subject.x; }), HasSubstr("the subject is backlit"));
  EXPECT_THAT(caption_of([](Scene& s) {
                s.sun_x = s.subject.x;
                s.light = Light::kDay;
              }),
              Not(HasSubstr("backlit")));
}

TEST(Caption, CountsWhatStandsAround) {
  const auto with = [](size_t count) {
    return caption_of([&](Scene& s) { s.clutter.assign(count, Object{.thing = Thing::kPerson}); });
  };
  EXPECT_THAT(with(0), HasSubstr(", nothing else stands around, the surroundings"));
  EXPECT_THAT(with(1), HasSubstr(", one small thing stands around, around is a small person, "));
  EXPECT_THAT(with(4), HasSubstr(", a few small things stand around, around are small people, "));
  EXPECT_THAT(with(5), HasSubstr(", several small things stand around, "));
  EXPECT_THAT(with(8), HasSubstr(", many small things stand around, "));
  EXPECT_THAT(with(11), HasSubstr(", a crowd of small things stands around, "));
}

// The lower end of a slope is where the horizon's row has the larger number.
TEST(Caption, ATiltRisesToTheSideWhereTheHorizonIsHigher) {
  for (const float tilt : {-0.1F, -0.03F, 0.03F, 0.1F}) {
    Scene scene = boat_at_dusk();
    scene.tilt = tilt;
    const bool right_is_higher = horizon_at(scene, 299) < horizon_at(scene, 1);
    EXPECT_THAT(caption(scene), HasSubstr(right_is_higher ? "to the right, a few" : "to the left, a few")) << tilt;
    EXPECT_THAT(caption(scene), HasSubstr(tilt < -0.05F || tilt > 0.05F ? "steeply" : "a little to")) << tilt;
  }
  EXPECT_THAT(caption_of([](Scene& s) { s.tilt = 0.01F; }), HasSubstr("the horizon is level"));
}

std::string with_sides_swapped(std::string text) {
  text = std::regex_replace(text, std::regex("left"), "LEFT");
  text = std::regex_replace(text, std::regex("right"), "left");
  return std::regex_replace(text, std::regex("LEFT"), "right");
}

TEST(Caption, MirroringSwapsLeftAndRightAndNothingElse) {
  int changed = 0;
  for (std::uint64_t item = 0; item < 500; ++item) {
    Scene scene = draw_scene(7, 0, item, kAnyStyle);
    // "bright" holds "right": no side.
    const auto before = std::regex_replace(caption(scene), std::regex("bright"), "pale");
    scene.subject.x = 1 - scene.subject.x;
    scene.sun_x = 1 - scene.sun_x;
    scene.tilt = -scene.tilt;
    const auto after = std::regex_replace(caption(scene), std::regex("bright"), "pale");
    EXPECT_EQ(after, with_sides_swapped(before));
    changed += after != before ? 1 : 0;
  }
  EXPECT_GT(changed, 250);
}

// What the teacher learns from must hold no trace of what it is tested on.
TEST(Caption, NeverJudges) {
  const std::regex judgement(
      "good|bad|beaut|ugly|nice|poor|best|worst|pretty|score|rating|rated|like[sd]?\\b|pleas|compos|harmon|calm|"
      "expos\\w+ (well|right)|perfect|qualit");
  std::set<std::string> clauses;
  for (std::uint64_t item = 0; item < 3000; ++item) {
    for (std::string& clause : clauses_of(caption(draw_scene(7, 0, item, kAnyStyle))))
      clauses.insert(std::move(clause));
  }
  for (const std::string& clause : clauses) EXPECT_FALSE(std::regex_search(clause, judgement)) << clause;
  EXPECT_GT(clauses.size(), 250U);
  EXPECT_LT(clauses.size(), 400U);
}

// A fact that always has the same word would tell nothing.
TEST(Caption, UsesThreeToFiveWordsForEachContinuousFact) {
  std::map<std::string, std::set<std::string>> words;
  for (std::uint64_t item = 0; item < 3000; ++item) {
    const std::vector<std::string> clauses = clauses_of(caption(draw_scene(7, 0, item, kAnyStyle)));
    for (const char* fact :
         {"the light comes from", "the subject stands", "the subject's middle is", "the horizon is",
          "the background is", "the exposure is", "the contrast is", "the grain is", "the corners are"}) {
      for (const std::string& clause : clauses) {
        if (clause.starts_with(fact)) words[fact].insert(clause);
      }
    }
  }
  EXPECT_EQ(words.size(), 9U);
  for (auto& [fact, used] : words) {
    used.erase("the horizon is level");
    EXPECT_GE(used.size(), 3U) << fact;
    EXPECT_LE(used.size(), 5U) << fact;
  }
}

TEST(CaptionList, HasOneRowForEveryPictureThatShowsItsScene) {
  const CorpusPlan plan = plan_corpus(60);
  std::map<std::string, std::string> captions;
  std::istringstream lines(caption_list(plan, 1));
  std::string line;
  std::getline(lines, line);
  EXPECT_EQ(line, "path,caption");
  while (std::getline(lines, line)) {
    const size_t comma = line.find(',');
    EXPECT_THAT(line.substr(comma + 1), testing::MatchesRegex("\"a picture of [^\"]+\""));
    EXPECT_TRUE(captions.emplace(line.substr(0, comma), line.substr(comma + 1)).second) << line;
  }

  const std::set<std::string> hidden{"truncated", "empty", "garbage", "huge_header", "grey_jpeg", "rated_truncated"};
  std::set<std::string> shown;
  for (const FilePlan& file : plan.files) {
    if (file.members.empty()) shown.insert(file.path);
    for (const TarMember& member : file.members) shown.insert(file.path + "/" + member.name + ".jpg");
  }
  for (const Planted& planted : plan.planted) {
    if (hidden.contains(planted.kind)) shown.erase(planted.path);
  }
  std::set<std::string> listed;
  for (const auto& [path, text] : captions) listed.insert(path);
  EXPECT_EQ(listed, shown);

  for (const Planted& planted : plan.planted) {
    if (planted.original.empty() || hidden.contains(planted.kind)) continue;
    EXPECT_EQ(captions.at(planted.path), captions.at(planted.original)) << planted.kind;
  }
}

TEST(CaptionList, TellsTheSceneThatIsRendered) {
  const CorpusPlan plan = plan_corpus(60);
  const std::string list = caption_list(plan, 5);
  const SourcePlan& coast = plan.sources.front();
  EXPECT_THAT(list, HasSubstr("\ncoast/00/photo_000003.jpg,\"" + caption(draw_scene(5, 0, 3, coast.style)) + "\"\n"));
  EXPECT_THAT(list, Not(HasSubstr(caption(draw_scene(6, 0, 3, coast.style)))));
}

}  // namespace
}  // namespace cskd::demo
