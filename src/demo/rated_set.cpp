#include "demo/rated_set.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "demo/panel.h"
#include "demo/taste.h"

namespace cskd::demo {
namespace {

std::string tag_names() {
  std::string text;
  int number = 1;
  for (int i = 0; i < kPlaces; ++i) text += fmt::format("{} {}\n", number++, to_string(static_cast<Place>(i)));
  for (int i = 0; i < kLights; ++i) text += fmt::format("{} {}\n", number++, to_string(static_cast<Light>(i)));
  return text;
}

}  // namespace

RatedTexts rated_texts(const CorpusPlan& plan, std::uint64_t seed) {
  RatedTexts texts;
  texts.tags = tag_names();
  texts.latent = "id,split,composition,harmony,contrast,exposure,sharpness,calm,liking,votes,mean,mean_a,mean_b\n";
  const auto source = static_cast<std::uint32_t>(plan.sources.size() - 1);
  int index = 1;
  for (const RatedImage& image : plan.rated) {
    const Scene scene = draw_scene(seed, source, image.item, plan.sources.back().style);
    const TasteFactors factors = taste_factors(scene);
    const Rating rating = rate(factors, seed, image.item);
    // Some of AVA's images have one tag only.
    const int light = image.item % 5 == 0 ? 0 : 1 + kPlaces + static_cast<int>(scene.light);
    texts.ratings += fmt::format("{} {} {} {} {} {}\n", index++, image.id, fmt::join(rating.all.counts, " "),
                                 1 + static_cast<int>(scene.place), light, image.challenge);
    (image.is_test ? texts.test_ids : texts.train_ids) += fmt::format("{}\n", image.id);
    texts.latent +=
        fmt::format("{},{},{:.6f},{:.6f},{:.6f},{:.6f},{:.6f},{:.6f},{:.6f},{},{:.6f},{:.6f},{:.6f}\n", image.id,
                    image.is_test ? "test" : "train", factors.composition, factors.harmony, factors.contrast,
                    factors.exposure, factors.sharpness, factors.calm, liking(factors, kMeanTaste), rating.all.total(),
                    rating.all.mean(), rating.first_half.mean(), rating.second_half.mean());
  }
  return texts;
}

}  // namespace cskd::demo
