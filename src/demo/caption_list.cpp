#include "demo/caption_list.h"

#include <iterator>

#include <fmt/format.h>

#include "demo/caption.h"

namespace cskd::demo {
namespace {

bool shows_its_scene(const Recipe& recipe) {
  return recipe.damage == Damage::kNone && (recipe.format != Format::kJpeg || recipe.jpeg.colour != JpegColour::kGrey);
}

}  // namespace

std::string caption_list(const CorpusPlan& plan, std::uint64_t seed) {
  std::string text = "path,caption\n";
  const auto add = [&](const std::string& path, const Recipe& recipe) {
    if (!shows_its_scene(recipe)) return;
    const Scene scene = draw_scene(seed, recipe.source, recipe.item, plan.sources[recipe.source].style);
    fmt::format_to(std::back_inserter(text), "{},\"{}\"\n", path, caption(scene));
  };
  for (const FilePlan& file : plan.files) {
    if (file.members.empty()) add(file.path, file.recipe);
    for (const TarMember& member : file.members) {
      add(fmt::format("{}/{}.jpg", file.path, member.name), member.recipe);
    }
  }
  return text;
}

}  // namespace cskd::demo
