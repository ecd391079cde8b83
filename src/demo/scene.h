// The contents of a picture, as plain parameters that a person can name. The renderer turns it into pixels, the hidden
// taste into a score; captions can be written from it.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

namespace cskd::demo {

enum class Place { kSea, kMountains, kMeadow, kCity, kTable, kForest, kDesert, kSnow };
enum class Light { kDawn, kDay, kDusk, kNight };
enum class Weather { kClear, kCloudy, kMisty };
enum class Thing { kBoat, kTree, kHouse, kPerson, kBalloon, kVase, kLighthouse, kBall };

// Numbers of the values above.
constexpr int kPlaces = 8;
constexpr int kLights = 4;
constexpr int kWeathers = 3;
constexpr int kThings = 8;

// "sea", "dusk", "misty", "lighthouse"
std::string_view to_string(Place place);
std::string_view to_string(Light light);
std::string_view to_string(Weather weather);
std::string_view to_string(Thing thing);

// A thing in the scene. Lengths are fractions of the picture's height, positions of its width and height from the top
// left.
struct Object {
  Thing thing = Thing::kBall;
  float x = 0.5F;
  float y = 0.5F;     // where it stands, its foot
  float size = 0.2F;  // its height
  float hue = 0;      // degrees
  float saturation = 0.5F;
};

struct Scene {
  int width = 0;
  int height = 0;
  Place place = Place::kSea;
  Light light = Light::kDay;
  Weather weather = Weather::kClear;

  float horizon = 0.5F;     // height of the horizon at the picture's middle, fraction from the top
  float tilt = 0;           // slope of the horizon: rise / run
  float sun_x = 0.5F;       // fraction of the width
  float hue = 200;          // dominant hue of the surroundings, degrees
  float saturation = 0.5F;  // of the surroundings, 0..1

  Object subject;
  std::vector<Object> clutter;  // small things that distract

  float subject_blur = 0;     // radius, fraction of the height
  float background_blur = 0;  // likewise
  float exposure = 0;         // stops, 0 is right
  float contrast = 1;         // 1 is natural
  float noise = 0;            // standard deviation, 0..255
  float vignette = 0;         // darkening of the corners, 0..1
  std::uint64_t texture = 0;  // seed of clouds, grain and other texture
};

// From a height or position to the nearest line of thirds.
double to_nearest_third(double x);

// From the subject's middle to the nearest point where the lines of the thirds cross; heights count half.
double to_nearest_crossing(const Object& subject);

// How the pictures of one source differ from another's: ranges that draw_scene() draws from.
struct Style {
  std::vector<Place> places;
  int long_side_low = 220;
  int long_side_high = 320;
  float saturation_low = 0.2F;
  float saturation_high = 0.8F;
  float noise_low = 0;
  float noise_high = 6;
  float night_share = 0.1F;      // of pictures at night
  float portrait_share = 0.25F;  // of pictures higher than wide
};

// The scene of picture `item` of a source: a pure function of its arguments (Philox, stream kSceneStream + source).
Scene draw_scene(std::uint64_t seed, std::uint32_t source, std::uint64_t item, const Style& style);

}  // namespace cskd::demo
