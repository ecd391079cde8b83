#include "inspect/caches.h"

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <map>
#include <system_error>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "config/reader.h"
#include "data/corpus.h"
#include "distributed/communicator.h"
#include "features/cache.h"
#include "features/cache_set.h"
#include "features/plugins.h"
#include "features/tower.h"
#include "run/context.h"
#include "runtime/counted.h"
#include "runtime/error.h"
#include "runtime/free_space.h"
#include "runtime/terminal.h"
#include "runtime/unix_time.h"
#include "shards/feature_cache/reader.h"
#include "shards/hdf5_file.h"

namespace cskd::inspect {
namespace {

using Json = nlohmann::ordered_json;

constexpr int kRecomputedRows = 16;  // of each rank

bool is_cache(const std::filesystem::path& path) {
  std::error_code error;
  if (path.extension() != ".h5" || !std::filesystem::is_regular_file(path, error)) return false;
  try {
    return shards::Hdf5Layout(path).text("format") == shards::kFeatureCacheFormat;
  } catch (const runtime::Error&) {
    return false;
  }
}

// Of one file, or of several with the same binding.
struct Contents {
  std::uint64_t files = 0;
  std::uint64_t bytes = 0;
  std::uint64_t pictures = 0;
  std::uint64_t without_features = 0;
};

// {binding, contents} or {file, fault}.
Json look_at(const std::filesystem::path& path, bool verify) {
  try {
    const shards::CacheHeader header = shards::read_cache_header(path);
    const shards::FeatureCacheReader reader(path, header.binding, header.samples);
    std::uint64_t without = 0;
    for (std::uint64_t row = 0; row < reader.samples(); ++row) {
      without += reader.has_features(row) ? 0 : 1;
      for (std::uint64_t view = 0; verify && reader.has_features(row) && view < reader.views(); ++view)
        static_cast<void>(reader.pooled(row, view));
    }
    Json binding = Json::object();
    for (const auto& [name, value] : shards::fields(header.binding)) binding[name] = runtime::printable(value);
    binding["view_count"] = std::to_string(header.binding.view_count);
    return {{"binding", binding},
            {"bytes", std::filesystem::file_size(path)},
            {"pictures", reader.samples()},
            {"without_features", without}};
  } catch (const runtime::Error& error) {
    return {{"file", path.native()}, {"fault", runtime::messages(error).back()}};
  }
}

// Stored features that were computed again.
struct Recomputation {
  std::string tower;    // the weights that did it
  std::string missing;  // why nothing was computed
  int agree = 0;        // over all ranks
  Json faults = Json::array();
};

// This rank's, with the configuration that the run of `folder`, <run>/cache/<tower>, left.
Recomputation recompute_own(const std::filesystem::path& folder, runtime::World& world,
                            distributed::Communicator& communicator) {
  Recomputation own;
  if (folder.filename() == "answers" && folder.parent_path().filename() != "cache") {  // stages/stored_answers.h
    own.missing = "of a teacher's answers, each start of one of its students does that";
    return own;
  }
  const run::RunFolder run{.root = folder.parent_path().parent_path(), .elsewhere = {}};
  try {
    const std::filesystem::path settings = run.root / "config.toml";
    config::Config config = config::load_config(settings, {});
    features::load_plugins(config);
    const auto tower = std::ranges::find(config.towers(), folder.filename().native(), &config::Tower::name);
    if (tower == config.towers().end()) {
      throw runtime::UsageError(fmt::format("{} has no tower '{}'", settings.native(), folder.filename().native()));
    }
    const run::Context context{.config = config, .world = world, .communicator = communicator, .folder = run};
    const auto encoder = features::load_tower(context, *tower);
    const data::Corpus corpus(run.shards());
    own.tower = tower->weights();
    try {
      const features::CacheSet caches(context, features::cache_place(run, *tower), corpus,
                                      features::cache_binding(config, *tower, encoder->shape()));
      const auto samples = data::SampleSet::of_split(corpus, shards::Split::kUnlabelled)
                               .followed_by(data::SampleSet::of_split(corpus, shards::Split::kTrain));
      // Other rows each time.
      own.agree = caches.audit(samples, static_cast<std::uint64_t>(runtime::unix_time()),
                               features::view_encoder(context, *tower, encoder), kRecomputedRows);
    } catch (const runtime::Error& error) {
      own.faults.push_back({{"file", folder.native()}, {"fault", runtime::messages(error).back()}});
    }
  } catch (const runtime::Error& error) {
    own.missing = runtime::messages(error).back();
  }
  return own;
}

// Of all ranks. Collective.
Recomputation recompute_sample(const std::filesystem::path& folder, runtime::World& world) {
  const auto communicator = distributed::make_communicator(world, std::chrono::minutes(10));
  Recomputation all = recompute_own(folder, world, *communicator);
  const Json own{{"missing", all.missing}, {"faults", all.faults}, {"agree", all.agree}};
  all.agree = 0;
  all.faults = Json::array();
  for (const std::string& text : world.all_gather(own.dump(-1, ' ', false, Json::error_handler_t::replace))) {
    const Json of_rank = Json::parse(text);
    all.agree += of_rank["agree"].get<int>();
    if (all.missing.empty()) all.missing = of_rank["missing"].get<std::string>();
    for (const Json& fault : of_rank["faults"]) {
      if (std::ranges::find(all.faults, fault) == all.faults.end()) all.faults.push_back(fault);
    }
  }
  return all;
}

std::string to_text(const std::filesystem::path& folder, const std::map<std::string, Contents>& groups,
                    const Json& faults, const Recomputation* recomputed) {
  std::string text;
  for (const auto& [binding, contents] : groups) {
    text += fmt::format("{}   {} in {}\n\n", folder.native(), runtime::format_bytes(contents.bytes),
                        runtime::counted(contents.files, "file"));
    const Json fields = Json::parse(binding);
    for (const auto& [name, value] : fields.items())
      text += fmt::format("  {:<16} {}\n", name, value.get<std::string>());
    text += fmt::format("  {:<16} {}, {} of them without features\n", "pictures", fmt::group_digits(contents.pictures),
                        contents.without_features);
    text += fmt::format("  {:<16} {}\n\n", "features",
                        recomputed != nullptr ? "all have their checksums, but for the faults below"
                                              : "not read; --verify checks each checksum and computes a sample again");
  }
  if (recomputed != nullptr) {
    text +=
        recomputed->missing.empty()
            ? fmt::format("{} computed again with {} agree.\n",
                          runtime::counted(static_cast<std::uint64_t>(recomputed->agree), "view"), recomputed->tower)
            : fmt::format("No view was computed again: {}\n", recomputed->missing);
  }
  if (groups.size() > 1) text += "These were made with different settings: 'cskd cache' refuses all but its own.\n";
  for (const Json& fault : faults) text += fmt::format("fault: {}\n", fault["fault"].get<std::string>());
  return text + runtime::counted(faults.size(), "fault") + "\n";
}

}  // namespace

std::vector<std::filesystem::path> find_caches(const std::filesystem::path& path) {
  if (is_cache(path)) return {path};
  std::vector<std::filesystem::path> files;
  std::error_code error;
  for (std::filesystem::directory_iterator entry(path, error), end; !error && entry != end; entry.increment(error)) {
    if (entry->path().extension() == ".h5") files.push_back(entry->path());
  }
  std::ranges::sort(files);
  return std::ranges::any_of(files, is_cache) ? files : std::vector<std::filesystem::path>{};
}

CacheReport report_on_caches(const std::vector<std::filesystem::path>& caches, bool verify, bool json,
                             runtime::World& world) {
  Json own = Json::array();
  for (std::size_t i = static_cast<std::size_t>(world.rank()); i < caches.size();
       i += static_cast<std::size_t>(world.size()))
    own.push_back(look_at(caches[i], verify));
  std::map<std::string, Contents> groups;  // by binding
  Json faults = Json::array();
  for (const std::string& text : world.all_gather(own.dump(-1, ' ', false, Json::error_handler_t::replace))) {
    for (const Json& file : Json::parse(text)) {
      if (file.contains("fault")) {
        faults.push_back(file);
        continue;
      }
      Contents& group = groups[file["binding"].dump()];
      ++group.files;
      group.bytes += file["bytes"].get<std::uint64_t>();
      group.pictures += file["pictures"].get<std::uint64_t>();
      group.without_features += file["without_features"].get<std::uint64_t>();
    }
  }
  std::optional<Recomputation> recomputed;
  if (verify) {
    recomputed = recompute_sample(std::filesystem::absolute(caches.front()).parent_path(), world);
    faults.insert(faults.end(), recomputed->faults.begin(), recomputed->faults.end());
  }
  CacheReport report{.text = {}, .are_whole = faults.empty()};
  if (world.rank() != 0) return report;
  const std::filesystem::path folder =
      caches.size() == 1 ? caches.front() : std::filesystem::path(caches.front().parent_path());
  if (!json) {
    report.text = to_text(folder, groups, faults, recomputed ? &*recomputed : nullptr);
    return report;
  }
  Json document{{"path", folder.native()}, {"caches", Json::array()}, {"faults", faults}, {"verified", verify}};
  if (recomputed) {
    document["computed_again"] = {
        {"tower", recomputed->tower},
        {"views_that_agree", recomputed->agree},
        {"not_done_because", recomputed->missing.empty() ? Json() : Json(recomputed->missing)}};
  }
  for (const auto& [binding, contents] : groups) {
    document["caches"].push_back({{"binding", Json::parse(binding)},
                                  {"files", contents.files},
                                  {"bytes", contents.bytes},
                                  {"pictures", contents.pictures},
                                  {"without_features", contents.without_features}});
  }
  report.text = document.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
  return report;
}

}  // namespace cskd::inspect
