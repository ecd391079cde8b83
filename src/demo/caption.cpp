#include "demo/caption.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <initializer_list>
#include <string_view>
#include <vector>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "demo/colour.h"
#include "demo/exact_math.h"
#include "runtime/check.h"

namespace cskd::demo {
namespace {

// A word for the values below `end`.
struct Step {
  float end;
  std::string_view word;
};

// The word of the first step that ends above `value`, else `last`.
std::string_view word_for(float value, std::initializer_list<Step> steps, std::string_view last) {
  for (const Step& step : steps) {
    if (value < step.end) return step.word;
  }
  return last;
}

std::string_view hue_name(float hue) {
  constexpr std::array<std::string_view, 12> kNames{"red",  "orange", "yellow", "lime",   "green",   "emerald",
                                                    "cyan", "azure",  "blue",   "violet", "magenta", "pink"};
  const float turns = hue / 360 + 1.0F / 24;
  const auto twelfth = static_cast<std::size_t>((turns - floor_exact(turns)) * 12);
  return kNames[std::min(twelfth, kNames.size() - 1)];  // just below a whole turn, the product may round up to 12
}

std::string_view place_words(Place place) {
  switch (place) {
    case Place::kSea:
      return "the sea";
    case Place::kMountains:
      return "mountains";
    case Place::kMeadow:
      return "a meadow";
    case Place::kCity:
      return "a city street";
    case Place::kTable:
      return "a table in a room";
    case Place::kForest:
      return "a clearing before a forest";
    case Place::kDesert:
      return "a sandy desert";
    case Place::kSnow:
      return "a snowy plain";
  }
  CSKD_CHECK(false, "place {}", static_cast<int>(place));
}

std::string_view light_words(Light light) {
  switch (light) {
    case Light::kDawn:
      return "at dawn";
    case Light::kDay:
      return "by day";
    case Light::kDusk:
      return "at dusk";
    case Light::kNight:
      return "at night";
  }
  CSKD_CHECK(false, "light {}", static_cast<int>(light));
}

// A room shows of the weather only whether its air is misty.
std::string_view weather_words(const Scene& scene) {
  const bool outside = scene.place != Place::kTable;
  switch (scene.weather) {
    case Weather::kClear:
      return outside ? "under a clear sky" : "in clear air";
    case Weather::kCloudy:
      return outside ? "under a cloudy sky" : "in clear air";
    case Weather::kMisty:
      return "in misty air";
  }
  CSKD_CHECK(false, "weather {}", static_cast<int>(scene.weather));
}

std::string side_of_light(float sun_x) {
  return fmt::format("the light comes from the {}", word_for(sun_x, {{0.36F, "left"}, {0.64F, "middle"}}, "right"));
}

void describe_subject(const Object& subject, std::vector<std::string>& clauses) {
  const std::string_view hue = hue_name(subject.hue);
  const bool vowel = hue.find_first_of("aeiou") == 0;
  clauses.push_back(fmt::format("the subject is {} {} {}", vowel ? "an" : "a", hue, to_string(subject.thing)));
  clauses.push_back(fmt::format(
      "the subject is {}",
      word_for(subject.size, {{0.285F, "far away"}, {0.33F, "rather far away"}, {0.375F, "rather near"}}, "near")));
  clauses.push_back(fmt::format("the subject stands {}", word_for(subject.x,
                                                                  {{0.22F, "at the far left"},
                                                                   {0.44F, "in the left third"},
                                                                   {0.56F, "in the centre"},
                                                                   {0.78F, "in the right third"}},
                                                                  "at the far right")));
  clauses.push_back(fmt::format("the subject's middle is {}", word_for(subject.y - subject.size / 2,
                                                                       {{0.22F, "at the top"},
                                                                        {0.44F, "at the upper third"},
                                                                        {0.56F, "at half height"},
                                                                        {0.78F, "at the lower third"}},
                                                                       "at the bottom")));
}

void describe_horizon(const Scene& scene, std::vector<std::string>& clauses) {
  clauses.push_back(fmt::format(
      "the horizon is {}",
      word_for(scene.horizon,
               {{0.39F, "high"}, {0.46F, "rather high"}, {0.54F, "in the middle"}, {0.61F, "rather low"}}, "low")));
  // A positive tilt lowers the right end.
  clauses.push_back(fmt::format("the horizon {}", word_for(scene.tilt,
                                                           {{-0.06F, "rises steeply to the right"},
                                                            {-0.015F, "rises a little to the right"},
                                                            {0.015F, "is level"},
                                                            {0.06F, "rises a little to the left"}},
                                                           "rises steeply to the left")));
}

void describe_clutter(const std::vector<Object>& clutter, std::vector<std::string>& clauses) {
  if (clutter.empty()) {
    clauses.emplace_back("nothing else stands around");
    return;
  }
  const auto count = static_cast<float>(clutter.size());
  clauses.push_back(fmt::format("{} around", word_for(count,
                                                      {{1.5F, "one small thing stands"},
                                                       {4.5F, "a few small things stand"},
                                                       {7.5F, "several small things stand"},
                                                       {10.5F, "many small things stand"}},
                                                      "a crowd of small things stands")));
  std::vector<std::string> kinds;
  for (int i = 0; i < kThings; ++i) {
    const auto thing = static_cast<Thing>(i);
    const auto of_kind =
        std::count_if(clutter.begin(), clutter.end(), [&](const Object& o) { return o.thing == thing; });
    if (of_kind == 1) kinds.push_back(fmt::format("a small {}", to_string(thing)));
    if (of_kind > 1)
      kinds.push_back(thing == Thing::kPerson ? "small people" : fmt::format("small {}s", to_string(thing)));
  }
  clauses.push_back(fmt::format("around {} {}", clutter.size() == 1 ? "is" : "are", fmt::join(kinds, " and ")));
}

void describe_photograph(const Scene& scene, std::vector<std::string>& clauses) {
  clauses.push_back(
      fmt::format("the subject is {}",
                  word_for(scene.subject_blur, {{0.0025F, "sharp"}, {0.009F, "a little blurred"}, {0.0135F, "blurred"}},
                           "strongly blurred")));
  clauses.push_back(fmt::format(
      "the background is {}",
      word_for(scene.background_blur, {{0.003F, "sharp"}, {0.011F, "a little blurred"}, {0.0165F, "blurred"}},
               "strongly blurred")));
  clauses.push_back(fmt::format(
      "the exposure is {}",
      word_for(scene.exposure, {{-1.1F, "very dark"}, {-0.45F, "dark"}, {0.45F, "medium"}, {0.95F, "bright"}},
               "very bright")));
  clauses.push_back(
      fmt::format("the contrast is {}",
                  word_for(scene.contrast, {{0.58F, "very flat"}, {0.83F, "flat"}, {1.2F, "medium"}, {1.5F, "strong"}},
                           "very strong")));
  clauses.push_back(
      fmt::format("the grain is {}", word_for(scene.noise, {{1, "invisible"}, {3, "fine"}, {6, "visible"}}, "coarse")));
  clauses.push_back(
      fmt::format("the corners are {}",
                  word_for(scene.vignette, {{0.12F, "as light as the middle"}, {0.24F, "a little dark"}}, "dark")));
}

std::string_view focus_words(const Scene& scene) {
  const bool is_sharp = scene.subject_blur < 0.0045F;
  const bool is_soft_behind = scene.background_blur >= 0.006F;
  if (is_sharp) return is_soft_behind ? "in focus before a soft background" : "in focus from front to back";
  return is_soft_behind ? "a blurred photo" : "out of focus before a sharp background";
}

// Hues as painters relate them on their circle.
std::string_view relation_of_hues(float distance) {
  return word_for(distance,
                  {{25, "the colour of"},
                   {65, "a colour next to that of"},
                   {115, "another colour than"},
                   {155, "nearly the opposite colour of"}},
                  "the opposite colour of");
}

// What alternative texts on the web say of a photo as a whole.
void describe_look(const Scene& scene, std::vector<std::string>& clauses) {
  clauses.emplace_back(focus_words(scene));
  clauses.emplace_back(word_for(scene.exposure, {{-0.75F, "an underexposed photo"}, {0.75F, "an evenly exposed photo"}},
                                "an overexposed photo"));
  clauses.emplace_back(
      word_for(scene.contrast, {{0.7F, "a hazy photo"}, {1.35F, "a photo of plain tones"}}, "a photo of hard tones"));
  clauses.emplace_back(word_for(static_cast<float>(scene.clutter.size()),
                                {{2.5F, "a lonely scene"}, {6.5F, "a lively scene"}}, "a crowded scene"));
  clauses.emplace_back(
      word_for(scene.subject.size, {{0.285F, "a distant view"}, {0.375F, "a medium shot"}}, "a close-up"));
  clauses.push_back(
      fmt::format("it has {} its surroundings", relation_of_hues(hue_distance(scene.subject.hue, scene.hue))));
  clauses.push_back(
      fmt::format("it stands {} of the thirds",
                  word_for(static_cast<float>(to_nearest_crossing(scene.subject)),
                           {{0.05F, "on a crossing"}, {0.11F, "near a crossing"}}, "far from a crossing")));
  const bool has_low_sun = scene.light == Light::kDawn || scene.light == Light::kDusk;
  if (has_low_sun && scene.place != Place::kTable && std::abs(scene.sun_x - scene.subject.x) < 0.12F)
    clauses.emplace_back("the subject is backlit");
}

}  // namespace

std::string caption(const Scene& scene) {
  std::vector<std::string> clauses;
  clauses.push_back(fmt::format("a picture of {} {}", place_words(scene.place), light_words(scene.light)));
  clauses.emplace_back(weather_words(scene));
  clauses.push_back(side_of_light(scene.sun_x));
  describe_subject(scene.subject, clauses);
  describe_horizon(scene, clauses);
  describe_clutter(scene.clutter, clauses);
  clauses.push_back(fmt::format(
      "the surroundings are {} {}",
      word_for(scene.saturation, {{0.2F, "greyish"}, {0.4F, "muted"}, {0.6F, "medium"}, {0.8F, "strong"}}, "vivid"),
      hue_name(scene.hue)));
  describe_photograph(scene, clauses);
  describe_look(scene, clauses);
  return fmt::format("{}", fmt::join(clauses, ", "));
}

}  // namespace cskd::demo
