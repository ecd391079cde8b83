#include "demo/scene.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "demo/exact_math.h"
#include "runtime/check.h"
#include "runtime/philox.h"

namespace cskd::demo {
namespace {

using runtime::Philox;

constexpr std::uint32_t kSceneStream = 0x5CE00000;

float between(Philox& random, float low, float high) { return low + (high - low) * random.uniform_float(); }
bool chance(Philox& random, float share) { return random.uniform_float() < share; }

// Mean 0, standard deviation 1, never beyond 3: three uniforms, because a logarithm is not exact everywhere.
float bell_shaped(Philox& random) {
  return (random.uniform_float() + random.uniform_float() + random.uniform_float() - 1.5F) * 2;
}

// Hues that a place has by nature: land, water, walls. Drawn a little beyond these.
struct HueRange {
  float low;
  float high;
};

HueRange natural_hues(Place place) {
  switch (place) {
    case Place::kSea:
      return {175, 230};
    case Place::kMountains:
      return {200, 290};
    case Place::kMeadow:
      return {60, 130};
    case Place::kCity:
      return {10, 230};
    case Place::kTable:
      return {0, 340};
    case Place::kForest:
      return {80, 165};
    case Place::kDesert:
      return {15, 50};
    case Place::kSnow:
      return {180, 240};
  }
  CSKD_CHECK(false, "place {}", static_cast<int>(place));
}

Thing draw_thing(Philox& random, Place place) {
  const auto one_of = [&](std::initializer_list<Thing> things) {
    return things.begin()[random.below(static_cast<std::uint32_t>(things.size()))];
  };
  switch (place) {
    case Place::kSea:
      return one_of({Thing::kBoat, Thing::kBoat, Thing::kLighthouse, Thing::kBalloon, Thing::kBall});
    case Place::kMountains:
    case Place::kSnow:
      return one_of({Thing::kHouse, Thing::kTree, Thing::kPerson, Thing::kBalloon});
    case Place::kMeadow:
      return one_of({Thing::kTree, Thing::kHouse, Thing::kPerson, Thing::kBalloon, Thing::kBall});
    case Place::kCity:
      return one_of({Thing::kPerson, Thing::kTree, Thing::kBalloon, Thing::kBall});
    case Place::kTable:
      return one_of({Thing::kVase, Thing::kVase, Thing::kBall});
    case Place::kForest:
      return one_of({Thing::kPerson, Thing::kHouse, Thing::kBall});
    case Place::kDesert:
      return one_of({Thing::kPerson, Thing::kHouse, Thing::kBalloon, Thing::kTree});
  }
  CSKD_CHECK(false, "place {}", static_cast<int>(place));
}

void draw_size(Philox& random, const Style& style, Scene& scene) {
  constexpr std::array<float, 4> kRatios{1.0F, 1.25F, 4.0F / 3, 1.5F};
  const auto long_side =
      style.long_side_low +
      static_cast<int>(random.below(static_cast<std::uint32_t>(style.long_side_high - style.long_side_low + 1)));
  const auto short_side = static_cast<int>(static_cast<float>(long_side) / kRatios[random.below(kRatios.size())]);
  const bool portrait = chance(random, style.portrait_share);
  scene.width = portrait ? short_side : long_side;
  scene.height = portrait ? long_side : short_side;
}

void draw_subject(Philox& random, Scene& scene) {
  Object& subject = scene.subject;
  subject.thing = draw_thing(random, scene.place);
  subject.size = between(random, 0.24F, 0.42F);
  const bool on_third = chance(random, 0.5F);
  const float side = chance(random, 0.5F) ? 1.0F / 3 : 2.0F / 3;
  subject.x = on_third ? side + 0.025F * bell_shaped(random) : between(random, 0.12F, 0.88F);
  if (subject.thing == Thing::kBalloon) {
    subject.y = on_third ? 1.0F / 3 + subject.size / 2 + 0.03F * bell_shaped(random)
                         : between(random, subject.size + 0.03F, std::max(subject.size + 0.06F, scene.horizon));
  } else {
    const float nearest = std::min(0.93F, scene.horizon + 0.06F);
    subject.y = between(random, nearest, 0.95F);
  }
  // Half the subjects are alike or opposite in hue to what is around them, the others anything between.
  const float direction = chance(random, 0.5F) ? 1.0F : -1.0F;
  const float apart = chance(random, 0.5F) ? (chance(random, 0.4F) ? between(random, 0, 25) : between(random, 155, 180))
                                           : between(random, 0, 180);
  subject.hue = scene.hue + direction * apart;
  subject.saturation = between(random, 0.55F, 0.95F);
}

void draw_clutter(Philox& random, Scene& scene) {
  constexpr std::array<Thing, 5> kSmallThings{Thing::kBall, Thing::kVase, Thing::kHouse, Thing::kPerson, Thing::kBall};
  const std::uint32_t count = chance(random, 0.45F) ? random.below(2) : 2 + random.below(13);
  for (std::uint32_t i = 0; i < count; ++i) {
    Object object;
    object.thing = kSmallThings[random.below(kSmallThings.size())];
    object.x = between(random, 0.02F, 0.98F);
    object.y = between(random, std::min(0.9F, scene.horizon + 0.03F), 0.98F);
    object.size = between(random, 0.045F, 0.11F);
    object.hue = between(random, 0, 360);
    object.saturation = between(random, 0.3F, 0.9F);
    scene.clutter.push_back(object);
  }
  // What stands further back is drawn first.
  std::sort(scene.clutter.begin(), scene.clutter.end(), [](const Object& a, const Object& b) { return a.y < b.y; });
}

}  // namespace

double to_nearest_third(double x) { return std::min(std::abs(x - 1.0 / 3), std::abs(x - 2.0 / 3)); }

double to_nearest_crossing(const Object& subject) {
  const double sideways = to_nearest_third(subject.x);
  const double upright = to_nearest_third(subject.y - subject.size / 2);
  return std::sqrt(sideways * sideways + upright * upright / 4);
}

std::string_view to_string(Place place) {
  constexpr std::array<std::string_view, kPlaces> kNames{"sea",   "mountains", "meadow", "city",
                                                         "table", "forest",    "desert", "snow"};
  return kNames.at(static_cast<size_t>(place));
}

std::string_view to_string(Light light) {
  constexpr std::array<std::string_view, kLights> kNames{"dawn", "day", "dusk", "night"};
  return kNames.at(static_cast<size_t>(light));
}

std::string_view to_string(Weather weather) {
  constexpr std::array<std::string_view, kWeathers> kNames{"clear", "cloudy", "misty"};
  return kNames.at(static_cast<size_t>(weather));
}

std::string_view to_string(Thing thing) {
  constexpr std::array<std::string_view, kThings> kNames{"boat",    "tree", "house",      "person",
                                                         "balloon", "vase", "lighthouse", "ball"};
  return kNames.at(static_cast<size_t>(thing));
}

Scene draw_scene(std::uint64_t seed, std::uint32_t source, std::uint64_t item, const Style& style) {
  CSKD_CHECK(!style.places.empty(), "a style without places");
  Philox random(seed, kSceneStream + source, item);
  Scene scene;
  draw_size(random, style, scene);
  scene.place = style.places[random.below(static_cast<std::uint32_t>(style.places.size()))];
  const float hour = random.uniform_float();
  const float day = style.night_share + (1 - style.night_share) * 0.5F;
  const float dusk = style.night_share + (1 - style.night_share) * 0.78F;
  scene.light = hour < style.night_share ? Light::kNight
                : hour < day             ? Light::kDay
                : hour < dusk            ? Light::kDusk
                                         : Light::kDawn;
  scene.weather = static_cast<Weather>(random.below(kWeathers));

  const bool horizon_on_third = chance(random, 0.55F);
  scene.horizon = horizon_on_third ? (chance(random, 0.55F) ? 1.0F / 3 : 2.0F / 3) + 0.02F * bell_shaped(random)
                                   : between(random, 0.36F, 0.64F);
  scene.tilt = chance(random, 0.6F) ? 0.004F * bell_shaped(random) : between(random, -0.13F, 0.13F);
  scene.sun_x = between(random, 0.08F, 0.92F);
  const HueRange hues = natural_hues(scene.place);
  scene.hue = between(random, hues.low - 12, hues.high + 12);
  scene.saturation = between(random, style.saturation_low, style.saturation_high);

  draw_subject(random, scene);
  draw_clutter(random, scene);

  scene.subject_blur = chance(random, 0.6F) ? 0 : between(random, 0.005F, 0.018F);
  scene.background_blur = chance(random, 0.4F) ? 0 : between(random, 0.006F, 0.022F);
  scene.exposure = chance(random, 0.5F) ? 0.12F * bell_shaped(random) : between(random, -1.7F, 1.4F);
  scene.contrast = chance(random, 0.5F) ? 1 + 0.05F * bell_shaped(random) : power_of_two(between(random, -1.3F, 0.9F));
  scene.noise = between(random, style.noise_low, style.noise_high);
  scene.vignette = between(random, 0, 0.35F);
  scene.texture = random.bits64();
  return scene;
}

}  // namespace cskd::demo
