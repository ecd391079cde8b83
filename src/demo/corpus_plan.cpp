#include "demo/corpus_plan.h"

#include <algorithm>

#include <fmt/format.h>

#include "demo/noise.h"
#include "runtime/check.h"

namespace cskd::demo {
namespace {

enum SourceNumber : std::uint32_t { kCoast, kCity, kStudio, kArchive, kRated };

constexpr std::uint64_t kTarSamples = 200;
constexpr std::uint64_t kFolderFiles = 250;

std::vector<SourcePlan> plan_sources(std::int64_t images) {
  const std::int64_t rated = images / 5;
  const std::int64_t unrated = images - rated;
  std::vector<SourcePlan> sources(5);
  sources[kCoast] = {"coast",
                     "folder",
                     "Bright, clean holiday pictures of sea, beach and meadow: large JPEG files in a folder tree",
                     {.places = {Place::kSea, Place::kDesert, Place::kMeadow},
                      .long_side_low = 240,
                      .long_side_high = 320,
                      .saturation_low = 0.45F,
                      .saturation_high = 0.95F,
                      .noise_low = 0,
                      .noise_high = 3,
                      .night_share = 0.03F,
                      .portrait_share = 0.15F},
                     unrated * 30 / 100};
  sources[kCity] = {
      "city",
      "folder",
      "Dull, grainy telephone pictures of streets and rooms, many at night: small, hard-pressed JPEG files",
      {.places = {Place::kCity, Place::kTable},
       .long_side_low = 200,
       .long_side_high = 256,
       .saturation_low = 0.1F,
       .saturation_high = 0.55F,
       .noise_low = 5,
       .noise_high = 12,
       .night_share = 0.4F,
       .portrait_share = 0.55F},
      unrated * 25 / 100};
  sources[kStudio] = {"studio",
                      "folder",
                      "Noise-free still lifes and product shots: PNG and WebP files in one flat folder",
                      {.places = {Place::kTable, Place::kSnow},
                       .long_side_low = 220,
                       .long_side_high = 260,
                       .saturation_low = 0.2F,
                       .saturation_high = 0.8F,
                       .noise_low = 0,
                       .noise_high = 0.6F,
                       .night_share = 0,
                       .portrait_share = 0.4F},
                      unrated * 20 / 100};
  sources[kArchive] = {"archive",
                       "webdataset",
                       "Scans of faded slides of mountains, forests and fields: WebDataset tar files",
                       {.places = {Place::kMountains, Place::kForest, Place::kMeadow, Place::kSnow},
                        .long_side_low = 240,
                        .long_side_high = 288,
                        .saturation_low = 0.05F,
                        .saturation_high = 0.45F,
                        .noise_low = 3,
                        .noise_high = 9,
                        .night_share = 0.08F,
                        .portrait_share = 0.25F},
                       0};
  sources[kArchive].images = unrated - sources[kCoast].images - sources[kCity].images - sources[kStudio].images;
  sources[kRated] = {"rated",
                     "ava",
                     "Pictures of all kinds with the votes of a panel, in AVA's layout",
                     {.places = {Place::kSea, Place::kMountains, Place::kMeadow, Place::kCity, Place::kTable,
                                 Place::kForest, Place::kDesert, Place::kSnow},
                      .long_side_low = 230,
                      .long_side_high = 300,
                      .saturation_low = 0.1F,
                      .saturation_high = 0.9F,
                      .noise_low = 0,
                      .noise_high = 7,
                      .night_share = 0.12F,
                      .portrait_share = 0.3F},
                     rated};
  return sources;
}

// How the regular files of a source are encoded.
Recipe regular(SourceNumber source, std::uint64_t item) {
  Recipe recipe;
  recipe.source = source;
  recipe.item = item;
  switch (source) {
    case kCoast:
      recipe.jpeg = {.quality = 92,
                     .colour = item % 3 == 0 ? JpegColour::kYcc444 : JpegColour::kYcc420,
                     .progressive = item % 7 == 0};
      break;
    case kCity:
      recipe.jpeg = {.quality = 68 + static_cast<int>(item % 5) * 2};
      break;
    case kStudio:
      recipe.format = item % 3 == 0 ? Format::kPng : Format::kWebp;
      break;
    case kArchive:
      recipe.jpeg = {.quality = 85};
      break;
    case kRated:
      recipe.jpeg = {.quality = 90};
      break;
  }
  return recipe;
}

std::string extension(Format format) {
  return format == Format::kJpeg ? ".jpg" : format == Format::kPng ? ".png" : ".webp";
}

// Where image `item` of a folder source lies; planted ones continue the numbers, so that no name gives them away.
std::string path_of(SourceNumber source, std::uint64_t item, const std::string& ending) {
  switch (source) {
    case kCoast:
      return fmt::format("coast/{:02}/photo_{:06}{}", item / kFolderFiles, item, ending);
    case kCity:
      return fmt::format("city/album_{}/IMG_{:05}{}", 1 + item / kFolderFiles, item, ending);
    case kStudio:
      return fmt::format("studio/shot-{:06}{}", item, ending);
    default:
      CSKD_CHECK(false, "source {} is no folder", static_cast<int>(source));
  }
}

std::string path_of(SourceNumber source, std::uint64_t item) {
  return path_of(source, item, extension(regular(source, item).format));
}

std::string rated_path(std::int64_t id) { return fmt::format("rated/images/{}.jpg", id); }

// Adds what is planted, `times` of each kind.
class Planter {
 public:
  Planter(CorpusPlan& plan, std::uint64_t times) : plan_(plan), times_(times) {
    for (const SourcePlan& source : plan.sources) next_.push_back(static_cast<std::uint64_t>(source.images));
  }

  void plant_all() {
    for (std::uint64_t k = 0; k < times_; ++k) {
      plant_duplicates(k);
      plant_damage();
      plant_oddities(k);
      plant_leaks(k);
    }
  }

 private:
  void add(const std::string& kind, SourceNumber folder, const std::string& ending, const Recipe& recipe,
           const std::string& original, const std::string& note) {
    const std::string path = path_of(folder, next_[folder]++, ending);
    plan_.files.push_back({path, recipe, {}});
    plan_.planted.push_back({kind, path, original, note});
  }

  // A new scene of the folder's own style, under the next number.
  Recipe fresh(SourceNumber folder) const { return regular(folder, next_[folder]); }

  std::vector<FilePlan>::iterator planned(const std::string& path) {
    const auto file =
        std::find_if(plan_.files.begin(), plan_.files.end(), [&](const FilePlan& each) { return each.path == path; });
    CSKD_CHECK(file != plan_.files.end(), "{} is not planned", path);
    return file;
  }

  void plant_duplicates(std::uint64_t k) {
    const auto copy = [&](const char* kind, SourceNumber from, std::uint64_t item, SourceNumber to, const char* note,
                          auto change) {
      Recipe recipe = regular(from, item);
      change(recipe);
      add(kind, to, extension(recipe.format), recipe, path_of(from, item), note);
    };
    const auto as_it_is = [](Recipe&) {};
    copy("exact_duplicate", kCoast, 3 + 11 * k, kCoast, "the same bytes in the same source", as_it_is);
    copy("exact_duplicate", kCoast, 4 + 11 * k, kCity, "the same bytes in another source", as_it_is);
    copy("near_duplicate", kCity, 2 + 7 * k, kCity, "JPEG quality 55", [](Recipe& r) { r.jpeg.quality = 55; });
    copy("near_duplicate", kStudio, 1 + 6 * k, kCoast, "as JPEG", [](Recipe& r) {
      r.format = Format::kJpeg;
      r.jpeg.quality = 88;
    });
    copy("near_duplicate", kCoast, 5 + 11 * k, kStudio, "at 80 % of the size, as WebP", [](Recipe& r) {
      r.format = Format::kWebp;
      r.shrink = 0.8;
    });
    const int orientation = 2 + static_cast<int>(k % 7);
    copy("exif_orientation", kCoast, 6 + 11 * k, kCoast, fmt::format("{}", orientation).c_str(),
         [&](Recipe& r) { r.jpeg.orientation = orientation; });
    copy("exif_orientation", kCity, 3 + 7 * k, kCity, "6", [](Recipe& r) { r.jpeg.orientation = 6; });
  }

  void plant_damage() {
    const auto damage = [&](const char* kind, SourceNumber folder, Format format, Damage how, const char* ending) {
      Recipe recipe = fresh(folder);
      recipe.format = format;
      recipe.damage = how;
      add(kind, folder, ending, recipe, "", "");
    };
    damage("truncated", kCoast, Format::kJpeg, Damage::kTruncated, ".jpg");
    damage("truncated", kStudio, Format::kPng, Damage::kTruncated, ".png");
    damage("empty", kCity, Format::kJpeg, Damage::kEmpty, ".jpg");
    damage("garbage", kCity, Format::kJpeg, Damage::kGarbage, ".jpg");
    damage("huge_header", kStudio, Format::kPng, Damage::kHugeHeader, ".png");
  }

  void plant_oddities(std::uint64_t k) {
    const auto odd = [&](const char* kind, SourceNumber folder, const char* ending, const char* note, auto change) {
      Recipe recipe = fresh(folder);
      change(recipe);
      add(kind, folder, ending, recipe, "", note);
    };
    odd("wrong_extension", kCity, ".jpg", "PNG", [](Recipe& r) { r.format = Format::kPng; });
    odd("wrong_extension", kStudio, ".png", "JPEG", [](Recipe& r) { r.format = Format::kJpeg; });
    odd("grey_jpeg", k % 2 == 0 ? kCity : kCoast, ".jpg", "", [](Recipe& r) { r.jpeg.colour = JpegColour::kGrey; });
    odd("cmyk_jpeg", kCoast, ".jpg", "", [](Recipe& r) { r.jpeg.colour = JpegColour::kCmyk; });
  }

  // Test images of the rated set in unlabelled sources, and the faults of the real AVA in the training part.
  void plant_leaks(std::uint64_t k) {
    const RatedImage& test = plan_.rated.at(3 * (2 * k));
    add("leaked_test_image", kCoast, ".jpg", regular(kRated, test.item), rated_path(test.id), "the same bytes");
    const RatedImage& other = plan_.rated.at(3 * (2 * k + 1));
    Recipe again = regular(kRated, other.item);
    again.jpeg.quality = 70;
    add("leaked_test_image", kCity, ".jpg", again, rated_path(other.id), "JPEG quality 70");

    const std::string missing = rated_path(plan_.rated.at(3 * (2 * k) + 1).id);
    plan_.files.erase(planned(missing));
    plan_.planted.push_back({"rated_missing", missing, "", "listed in AVA.txt, but there is no such file"});

    const std::string cut = rated_path(plan_.rated.at(3 * (2 * k) + 2).id);
    planned(cut)->recipe.damage = Damage::kTruncated;
    plan_.planted.push_back({"rated_truncated", cut, "", ""});
  }

  CorpusPlan& plan_;
  std::uint64_t times_;
  std::vector<std::uint64_t> next_;  // number of the next file of each source
};

void plan_archive(CorpusPlan& plan) {
  const auto images = static_cast<std::uint64_t>(plan.sources[kArchive].images);
  for (std::uint64_t first = 0; first < images; first += kTarSamples) {
    FilePlan tar;
    tar.path = fmt::format("archive/archive-{:05}.tar", first / kTarSamples);
    for (std::uint64_t item = first; item < std::min(images, first + kTarSamples); ++item) {
      tar.members.push_back({fmt::format("slide{:06}", item), regular(kArchive, item)});
    }
    plan.files.push_back(std::move(tar));
  }
}

void plan_rated(CorpusPlan& plan) {
  for (std::uint64_t item = 0; item < static_cast<std::uint64_t>(plan.sources[kRated].images); ++item) {
    RatedImage image;
    image.item = item;
    image.id =
        10'000 + static_cast<std::int64_t>(item) * 37 + lattice_hash(static_cast<std::int32_t>(item), 0, 0xA7A) % 37;
    image.is_test = item % 3 == 0;
    image.challenge = 1 + static_cast<int>(item % 40);
    plan.rated.push_back(image);
    plan.files.push_back({rated_path(image.id), regular(kRated, item), {}});
  }
}

}  // namespace

CorpusPlan plan_corpus(std::int64_t images) {
  CSKD_CHECK(images >= kFewestImages, "a corpus of {} images", images);
  CorpusPlan plan;
  plan.sources = plan_sources(images);
  plan_archive(plan);
  for (const SourceNumber source : {kCoast, kCity, kStudio}) {
    for (std::uint64_t item = 0; item < static_cast<std::uint64_t>(plan.sources[source].images); ++item) {
      plan.files.push_back({path_of(source, item), regular(source, item), {}});
    }
  }
  plan_rated(plan);
  Planter(plan, static_cast<std::uint64_t>(std::clamp<std::int64_t>(images / 1500, 1, 100))).plant_all();
  return plan;
}

}  // namespace cskd::demo
