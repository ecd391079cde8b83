#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <iterator>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <spdlog/spdlog.h>

#include "data/colour.h"
#include "launch/commands/commands.h"
#include "launch/run_arguments.h"
#include "runtime/cores.h"
#include "runtime/error.h"
#include "runtime/input_file.h"
#include "runtime/terminal.h"
#include "scoring/bursts.h"
#include "scoring/gallery.h"
#include "scoring/photos.h"
#include "scoring/scorer.h"
#include "scoring/sidecar.h"
#include "scoring/stars.h"
#include "scoring/tables.h"

namespace cskd::launch {
namespace {

using scoring::ScoredPhoto;
using scoring::TableFormat;

constexpr int kThumbnailSide = 240;

struct ScoreArguments {
  std::filesystem::path model;
  std::vector<std::string> photos;
  std::string format = "auto";
  std::filesystem::path output;
  bool resume = false;
  std::uint64_t top = 0;
  std::filesystem::path copy_to;
  std::filesystem::path gallery;
  bool exact = false;
  std::string alpha;
  bool finds_bursts = false;
  int threads = 0;
  bool writes_ratings = false;
  bool previews_ratings = false;
  bool overwrites_ratings = false;
  std::string stars = "10%,35%,65%,90%";
  std::string reject;
  scoring::SidecarName sidecar_name = scoring::SidecarName::kWhole;

  bool rates() const { return writes_ratings || previews_ratings; }
};

TableFormat format_of(const ScoreArguments& arguments) {
  if (arguments.format == "csv") return TableFormat::kCsv;
  if (arguments.format == "jsonl") return TableFormat::kJsonLines;
  if (arguments.format == "table") return TableFormat::kTable;
  if (!arguments.output.empty())
    return arguments.output.extension() == ".jsonl" ? TableFormat::kJsonLines : TableFormat::kCsv;
  return runtime::is_terminal(runtime::Stream::kOutput) ? TableFormat::kTable : TableFormat::kCsv;
}

// Where lines go: standard output, or a file that grows, so that what was scored is not lost with the process.
class Sink {
 public:
  Sink(const ScoreArguments& arguments, TableFormat format) : format_(format), has_bursts_(arguments.finds_bursts) {
    if (arguments.output.empty()) return;
    std::size_t whole = 0;
    const bool goes_on = arguments.resume && std::filesystem::exists(arguments.output);
    if (goes_on) {
      constexpr std::uint64_t kLargest = std::uint64_t{1} << 32;
      const std::string text = runtime::read_text_file(arguments.output, kLargest);
      known_ = scoring::names_in(format, text, arguments.output.native(), whole);
      std::filesystem::resize_file(arguments.output, whole);
    }
    file_.open(arguments.output, goes_on ? std::ios::app | std::ios::binary : std::ios::trunc | std::ios::binary);
    if (!file_) runtime::throw_system_error(fmt::format("cannot write {}", arguments.output.native()), errno);
    path_ = arguments.output;
    has_header_ = whole > 0;
  }

  const std::set<std::string>& known() const { return known_; }

  // False: nobody reads any more.
  bool take(const ScoredPhoto& photo) {
    if (!std::exchange(has_header_, true) && !put(scoring::header_text(format_, has_bursts_))) return false;
    return put(scoring::row_text(format_, photo, runtime::terminal_columns(runtime::Stream::kOutput), has_bursts_));
  }

 private:
  bool put(const std::string& text) {
    if (path_.empty()) {
      if (std::fputs(text.c_str(), stdout) >= 0 && std::fflush(stdout) == 0) return true;
      if (errno != EPIPE) runtime::throw_system_error("cannot write to standard output", errno);
      return false;
    }
    file_ << text << std::flush;
    if (!file_) runtime::throw_system_error(fmt::format("cannot write {}", path_.native()), errno);
    return true;
  }

  TableFormat format_;
  bool has_bursts_;
  std::filesystem::path path_;
  std::ofstream file_;
  std::set<std::string> known_;
  bool has_header_ = false;
};

// Copies of the photos in the order of their places: "001 name.jpg".
void copy_best(const std::vector<ScoredPhoto>& best, const std::vector<scoring::Photo>& photos,
               const std::filesystem::path& folder) {
  std::filesystem::create_directories(folder);
  for (std::size_t place = 0; place < best.size(); ++place) {
    const auto photo = std::ranges::find(photos, best[place].name, &scoring::Photo::name);
    if (!photo->is_whole_file) {
      spdlog::warn("{} lies in an archive, and is not copied", runtime::printable(photo->name));
      continue;
    }
    const std::filesystem::path target =
        folder / fmt::format("{:03} {}", place + 1, std::filesystem::path(photo->file).filename().native());
    std::filesystem::copy_file(photo->file, target, std::filesystem::copy_options::overwrite_existing);
  }
}

// Stars of the photos, into their sidecars or, with a preview, told alone. Returns how many could not be written.
std::uint64_t rate(const std::vector<ScoredPhoto>& scored, const std::map<std::string, const scoring::Photo*>& photos,
                   const ScoreArguments& arguments) {
  scoring::StarRule rule{.cuts = scoring::parse_cuts(arguments.stars, 4), .reject = std::nullopt};
  if (!arguments.reject.empty()) rule.reject = scoring::parse_cuts(arguments.reject, 1).front();
  std::vector<double> scores;
  for (const ScoredPhoto& photo : scored) scores.push_back(photo.score);
  const std::vector<int> stars = scoring::stars_of(scores, rule);
  std::uint64_t written = 0;
  std::uint64_t kept = 0;
  std::uint64_t failed = 0;
  for (std::size_t i = 0; i < scored.size(); ++i) {
    const scoring::Photo& photo = *photos.at(scored[i].name);
    const std::string name = runtime::printable(photo.name);
    if (!photo.is_whole_file) {
      spdlog::warn("{} lies in an archive: it gets no sidecar", name);
      ++failed;
      continue;
    }
    try {
      const std::filesystem::path sidecar = scoring::sidecar_of(photo.file, arguments.sidecar_name);
      const std::optional<scoring::Rating> before = scoring::read_rating(sidecar);
      const bool is_a_persons = before && !before->is_ours && before->stars != 0;
      const bool is_kept = is_a_persons && !arguments.overwrites_ratings;
      if (arguments.previews_ratings) {
        fmt::print("{:>2} {} {}{}\n", is_kept ? before->stars : stars[i], runtime::printable(sidecar.native()),
                   is_kept                            ? "kept, a person gave it"
                   : std::filesystem::exists(sidecar) ? "changed"
                                                      : "new",
                   before && !is_kept ? fmt::format(", was {}", before->stars) : "");
      } else if (!is_kept) {
        scoring::write_rating(sidecar, stars[i], scored[i].score);
      }
      ++(is_kept ? kept : written);
    } catch (const runtime::Error& error) {
      spdlog::warn("{}: {}", name, fmt::join(runtime::messages(error), ": "));
      ++failed;
    }
  }
  spdlog::info("{} ratings {}, {} kept that people gave, {} failed", written,
               arguments.previews_ratings ? "would be written" : "written", kept, failed);
  return failed;
}

// What was scored, and what is done with it.
class Harvest {
 public:
  Harvest(const ScoreArguments& arguments, const scoring::Scorer& scorer, Sink& sink)
      : arguments_(arguments), sink_(sink), scale_(scorer.bin_centres().back() - scorer.bin_centres().front()) {
    if (!arguments.gallery.empty()) gallery_.emplace(arguments.gallery, scorer.name(), scorer.bin_centres());
  }

  bool has_gallery() const { return gallery_.has_value(); }
  std::uint64_t scored() const { return scored_; }
  std::uint64_t failed() const { return failed_; }

  // False: nobody reads any more.
  bool take(ScoredPhoto&& photo) {
    const bool has_score = photo.error.empty();
    ++(has_score ? scored_ : failed_);
    if (gallery_) gallery_->add(photo);
    photo.thumbnail = {};
    // The best, bursts and stars are known last.
    const bool is_kept = has_score && (arguments_.finds_bursts || arguments_.top > 0 || arguments_.rates());
    const bool waits = arguments_.finds_bursts || arguments_.top > 0 || arguments_.previews_ratings;
    if (waits && !has_score) spdlog::warn("{}: {}", runtime::printable(photo.name), photo.error);
    if (waits && !has_score && !arguments_.finds_bursts) return true;
    const bool goes_on = waits || sink_.take(photo);
    if (is_kept || (waits && !has_score)) kept_.push_back(std::move(photo));
    forget_the_rest();
    return goes_on;
  }

  // Writes what waited. Returns how many ratings could not be written.
  std::uint64_t finish(const std::vector<scoring::Photo>& photos, int threads) {
    if (arguments_.finds_bursts) find_bursts(threads);
    if (gallery_ && scored_ > 0) {
      gallery_->finish(places_);
      spdlog::info("{} shows {} photos", arguments_.gallery.native(), scored_);
    }
    if (arguments_.top > 0) {
      const std::vector<ScoredPhoto> best = the_best();
      write(best);
      if (!arguments_.copy_to.empty()) copy_best(best, photos, arguments_.copy_to);
    } else if (arguments_.finds_bursts && !arguments_.previews_ratings) {
      write(kept_);
    }
    if (!arguments_.rates()) return 0;
    std::map<std::string, const scoring::Photo*> by_name;
    for (const scoring::Photo& photo : photos) by_name[photo.name] = &photo;
    std::erase_if(kept_, [](const ScoredPhoto& photo) { return !photo.error.empty(); });
    return rate(kept_, by_name, arguments_);
  }

 private:
  void find_bursts(int threads) {
    std::vector<scoring::Shot> shots;
    for (const ScoredPhoto& photo : kept_) {
      if (photo.error.empty())
        shots.push_back({.appearance = photo.appearance, .sharpness = photo.sharpness, .score = photo.score});
    }
    places_ = scoring::find_bursts(shots, scale_, threads);
    auto place = places_.begin();
    std::uint32_t bursts = 0;
    std::uint32_t lesser = 0;
    for (ScoredPhoto& photo : kept_) {
      if (!photo.error.empty()) continue;
      photo.place = *place++;
      bursts = std::max(bursts, photo.place.burst);
      lesser += photo.place.is_best ? 0 : 1;
    }
    spdlog::info("{} bursts: {} photos are not the best of theirs", bursts, lesser);
  }

  // Where only the best are asked for, memory does not grow with the number of photos.
  void forget_the_rest() {
    constexpr std::size_t kAtOnce = 1024;
    if (arguments_.top == 0 || arguments_.finds_bursts || arguments_.rates()) return;
    if (kept_.size() >= arguments_.top + kAtOnce) kept_ = the_best();
  }

  // The best of each burst alone.
  std::vector<ScoredPhoto> the_best() const {
    std::vector<ScoredPhoto> best;
    std::ranges::copy_if(kept_, std::back_inserter(best),
                         [](const ScoredPhoto& photo) { return photo.error.empty() && photo.place.is_best; });
    std::ranges::stable_sort(best, std::ranges::greater(), &ScoredPhoto::score);
    if (best.size() > arguments_.top) best.resize(arguments_.top);
    return best;
  }

  void write(const std::vector<ScoredPhoto>& photos) {
    // A table is for looking through: of each burst it has the best.
    const bool has_best_only = format_of(arguments_) == TableFormat::kTable;
    for (const ScoredPhoto& photo : photos) {
      if (has_best_only && !photo.place.is_best) continue;
      if (!sink_.take(photo)) return;
    }
  }

  const ScoreArguments& arguments_;
  Sink& sink_;
  double scale_;
  std::uint64_t scored_ = 0;
  std::uint64_t failed_ = 0;
  std::optional<scoring::Gallery> gallery_;
  std::vector<ScoredPhoto> kept_;
  std::vector<scoring::BurstPlace> places_;  // of the photos that were scored
};

void require_sense(const ScoreArguments& arguments) {
  if (arguments.resume && arguments.output.empty())
    throw runtime::UsageError("--resume needs --output: what was scored before has to stand somewhere");
  if (!arguments.copy_to.empty() && arguments.top == 0)
    throw runtime::UsageError("--copy-best needs --top: how many are the best?");
  if (format_of(arguments) == TableFormat::kTable && !arguments.output.empty())
    throw runtime::UsageError("a table is for terminals: choose --format csv or jsonl for --output");
  if ((arguments.rates() || !arguments.gallery.empty() || arguments.finds_bursts) && arguments.resume)
    throw runtime::UsageError("--resume scores only what is left: --xmp, --gallery and --bursts need all photos");
  scoring::parse_cuts(arguments.stars, 4);
  if (!arguments.reject.empty()) scoring::parse_cuts(arguments.reject, 1);
}

runtime::ExitCode run_score(const ScoreArguments& arguments) {
  runtime::outlive_pipes();
  require_sense(arguments);
  scoring::Scorer scorer(arguments.model);
  std::vector<scoring::Photo> photos = scoring::find_photos(arguments.photos, std::cin);
  if (photos.empty()) throw runtime::DataError("there are no photos below what was given: nothing was scored");
  const std::uint64_t all = photos.size();
  Sink sink(arguments, format_of(arguments));
  std::erase_if(photos, [&](const scoring::Photo& photo) { return sink.known().contains(photo.name); });
  if (photos.size() < all)
    spdlog::info("{} of {} photos stand in {} already", all - photos.size(), all, arguments.output.native());
  const int threads = arguments.threads > 0 ? arguments.threads : static_cast<int>(runtime::usable_cores().size());
  Harvest harvest(arguments, scorer, sink);
  scorer.score(photos,
               {.threads = threads,
                .mode = arguments.exact ? data::ResizeMode::kExact : data::ResizeMode::kFast,
                .alpha = data::parse_colour(arguments.alpha),
                .thumbnail_side = harvest.has_gallery() ? kThumbnailSide : 0,
                .finds_bursts = arguments.finds_bursts},
               [&](ScoredPhoto&& photo) { return harvest.take(std::move(photo)); });
  const std::uint64_t unrated = harvest.finish(photos, threads);
  if (harvest.failed() > 0) spdlog::warn("{} of {} photos could not be read", harvest.failed(), photos.size());
  if (harvest.scored() == 0 && !photos.empty()) throw runtime::DataError("not one photo could be scored");
  return unrated > 0 ? runtime::ExitCode::kFailure : runtime::ExitCode::kDone;
}

}  // namespace

void add_score(Program& program) {
  CLI::App& command = program.add_command(
      "score", "Score photos with an exported model",
      "  cskd score runs/demo/export/student ~/Pictures\n"
      "  cskd score runs/demo/export/student ~/Pictures --top 20 --copy-best best/\n"
      "  cskd score runs/demo/export/student ~/Pictures --gallery photos.html\n"
      "  cskd score runs/demo/export/student ~/Pictures --bursts --top 20    # of each burst only the best shot\n"
      "  cskd score runs/demo/export/student ~/Pictures --xmp-preview\n"
      "  cskd score runs/demo/export/student photos.tar a.jpg --format jsonl > scores.jsonl\n"
      "  find / -name '*.jpg' | cskd score runs/demo/export/student - --output scores.csv --resume");
  const auto arguments = std::make_shared<ScoreArguments>();
  command.add_option("MODEL", arguments->model, "Folder of an export, or its model.safetensors")->required();
  command.add_option("PHOTO", arguments->photos, "Photos, folders, tar archives; - reads paths from standard input")
      ->required();
  command.add_option("--format", arguments->format, "table on a terminal, csv otherwise, or jsonl")
      ->check(CLI::IsMember({"auto", "table", "csv", "jsonl"}))
      ->capture_default_str();
  command.add_option("--output", arguments->output, "File for the scores; .jsonl or CSV by its name");
  command.add_flag("--resume", arguments->resume, "Leave out what stands in --output, and add to it");
  command.add_option("--top", arguments->top, "Only so many, the best first")->check(CLI::Range(1, 1000000));
  command.add_option("--copy-best", arguments->copy_to, "Folder for copies of those, numbered");
  command.add_option("--gallery", arguments->gallery,
                     "HTML page with all photos, to look through; one file, no network");
  command.add_flag("--exact", arguments->exact,
                   "Resize as in training, to the last bit, instead of decoding large JPEGs at a lower resolution");
  command.add_flag("--bursts", arguments->finds_bursts,
                   "Group shots of the same moment; tables, --top and --copy-best have the best of each group");
  command
      .add_option("--alpha", arguments->alpha,
                  "Colour that transparent pictures are laid over, #rrggbb; without it transparency is dropped")
      ->check([](const std::string& text) {
        return data::parse_colour(text) ? "" : fmt::format("'{}' is no colour like #ffffff", text);
      });
  CLI::Option* xmp = command.add_flag("--xmp", arguments->writes_ratings, "Write 1 to 5 stars into XMP sidecars");
  CLI::Option* preview =
      command.add_flag("--xmp-preview", arguments->previews_ratings, "Show what --xmp would write, and write nothing");
  preview->excludes(xmp);
  command
      .add_option("--stars", arguments->stars,
                  "Where 2, 3, 4 and 5 stars begin: shares of the photos, or scores: 4.5,5,5.5,6")
      ->capture_default_str();
  command.add_option("--reject", arguments->reject, "Photos below this share or score are marked as rejected");
  command.add_flag("--overwrite-ratings", arguments->overwrites_ratings, "Also replace ratings that people gave");
  std::map<std::string, scoring::SidecarName> names{{"whole", scoring::SidecarName::kWhole},
                                                    {"stem", scoring::SidecarName::kStem}};
  CLI::CheckedTransformer transformer(names);
  transformer.description("{whole,stem}");
  command
      .add_option("--sidecar-name", arguments->sidecar_name,
                  "Name of a new sidecar: whole: IMG.jpg.xmp (darktable, digiKam); stem: IMG.xmp (Lightroom)")
      ->transform(transformer)
      ->default_str("whole");
  command.add_option("--threads", arguments->threads, "Threads; by default as many as there are cores")
      ->check(CLI::Range(1, 1024));
  program.run_alone(command, [arguments] { return run_score(*arguments); });
}

}  // namespace cskd::launch
