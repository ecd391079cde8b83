#include "inspect/corpus.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <set>
#include <utility>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "report/progress.h"
#include "runtime/counted.h"
#include "runtime/free_space.h"
#include "runtime/work_queue.h"
#include "shards/image_shard/check.h"
#include "shards/image_shard/file.h"

namespace cskd::inspect {
namespace {

using Json = nlohmann::ordered_json;

// Of one shard, for the other ranks. Keys need not be UTF-8: MessagePack carries any bytes.
Json packed(std::int64_t shard, const shards::ShardCheck& check) {
  Json faults = Json::array();
  for (const ShardFault& fault : check.faults) {
    faults.push_back({fault.row ? Json(*fault.row) : Json(), fault.key, fault.what});
  }
  return {shard, check.pictures, check.bytes, check.fault_count, faults};
}

std::string faults_text(const Inspection& inspection) {
  std::string text = "\nfaults\n";
  std::uint64_t count = inspection.faults.size();
  for (const ShardFault& fault : inspection.faults) {
    text += "  " + printable(fault.file, 80);
    if (fault.row) text += fmt::format(" row {} ('{}')", *fault.row, printable(fault.key, 60));
    text += ": " + printable(fault.what, 400) + "\n";
  }
  if (inspection.verification) {
    for (const auto& [file, unlisted] : inspection.verification->unlisted) {
      text += fmt::format("  {}: {} more\n", printable(file, 80), unlisted);
      count += unlisted;
    }
  }
  return text + runtime::counted(count, "fault") + "; 'cskd shard' writes damaged shards anew from their sources\n";
}

// JSON has no NaN.
Json number(double value) { return std::isfinite(value) ? Json(value) : Json(nullptr); }

Json settings_json(const google::protobuf::RepeatedPtrField<Manifest::Setting>& settings) {
  Json result = Json::object();
  for (const Manifest::Setting& setting : settings) result[setting.key()] = setting.value();
  return result;
}

Json source_json(const Manifest::Source& source) {
  Json centres = Json::array();
  // By way of text, so that 0.1 is not 0.10000000149.
  for (const float centre : source.bin_centres()) centres.push_back(std::stod(fmt::format("{}", centre)));
  return {{"name", source.name()},
          {"kind", source.kind()},
          {"split_rule", source.split_rule()},
          {"weight", number(source.weight())},
          {"bin_centres", centres},
          {"packed", source.packed()},
          {"duplicates", source.duplicates()},
          {"near_duplicates", source.near_duplicates()},
          {"leaked", source.leaked()},
          {"quarantined", source.quarantined()},
          {"passed_over", source.passed_over()},
          {"settings", settings_json(source.settings())}};
}

Json group_json(const GroupSummary& group, const std::string& source) {
  const auto side = [](const SideRange& range) {
    return Json{{"min", range.min}, {"median", range.median}, {"max", range.max}};
  };
  Json orientations = Json::object();
  for (std::size_t i = 0; i < group.orientations.size(); ++i) {
    if (group.orientations[i] > 0) orientations[i == 0 ? "other" : std::to_string(i)] = group.orientations[i];
  }
  Json scores;
  if (group.bins > 0) {
    scores = {{"mean", group.mean_score ? number(*group.mean_score) : Json()},
              {"low", number(group.scores.low)},
              {"high", number(group.scores.high)},
              {"counts", group.scores.counts}};
  }
  return {{"source", source},
          {"split", to_string(group.split)},
          {"shards", group.shards},
          {"samples", group.samples},
          {"withdrawn", group.withdrawn},
          {"bytes", group.bytes},
          {"formats",
           {{"jpeg", group.formats[1]},
            {"png", group.formats[2]},
            {"webp", group.formats[3]},
            {"other", group.formats[0]}}},
          {"width", side(group.width)},
          {"height", side(group.height)},
          {"orientations", orientations},
          {"bins", group.bins},
          {"scores", scores}};
}

}  // namespace

Collection find_collection(const std::filesystem::path& path) {
  const std::string expected =
      "a manifest (manifest.cskd), a folder that holds one, a run folder or an image shard (*.h5)";
  if (path.empty()) throw runtime::UsageError("the path is empty; expected " + expected);
  if (!std::filesystem::exists(path)) {
    throw runtime::DataError(fmt::format("{} does not exist; expected {}", path.native(), expected));
  }
  if (std::filesystem::is_directory(path)) {
    for (const std::filesystem::path& folder : {path, path / "shards"}) {
      const std::filesystem::path manifest = folder / shards::kManifestFile;
      if (std::filesystem::exists(manifest)) return {manifest, folder, shards::read_manifest(folder)};
    }
    if (std::filesystem::exists(path / ".." / "config.toml")) {
      throw runtime::DataError(
          fmt::format("{} holds no checkpoint and no {}: a training writes its first checkpoint after "
                      "training.checkpoint_interval seconds, 'cskd shard' the manifest when all shards are written",
                      path.native(), shards::kManifestFile));
    }
    throw runtime::DataError(
        fmt::format("{0} holds neither {1} nor shards/{1}: 'cskd shard' makes it when all shards "
                    "are written; a single shard is inspected by its own path",
                    path.native(), shards::kManifestFile));
  }
  if (path.filename() == shards::kManifestFile) {
    return {path, path.parent_path(), shards::read_manifest(path.parent_path())};
  }
  if (path.extension() == ".h5") return {path, path.parent_path(), shards::lone_manifest(path), true};
  throw runtime::DataError(fmt::format("{} is something else; expected {}", path.native(), expected));
}

Verification verify(const Collection& collection, runtime::World& world) {
  const auto start = std::chrono::steady_clock::now();
  const auto total = static_cast<std::int64_t>(collection.manifest.shards_size());
  Json own = Json::array();
  {
    report::Progress progress("verifying", "shards");
    runtime::WorkQueue queue(world, total);
    while (const auto i = queue.next()) {
      const Manifest::Shard& shard = collection.manifest.shards(static_cast<int>(*i));
      own.push_back(
          packed(*i, shards::check_shard(collection.folder / shard.file(), shard, collection.source(shard.source()))));
      if (world.rank() == 0) progress.update(*i + 1, total);
    }
    queue.finish("shards were verified");
  }
  const std::vector<std::uint8_t> sent = Json::to_msgpack(own);
  std::map<std::int64_t, Json> checks;  // by shard
  for (const std::string& text : world.all_gather({sent.begin(), sent.end()})) {
    for (const Json& check : Json::from_msgpack(text)) checks[check.at(0).get<std::int64_t>()] = check;
  }
  Verification result;
  for (const auto& [i, check] : checks) {
    const std::string& file = collection.manifest.shards(static_cast<int>(i)).file();
    result.pictures += check.at(1).get<std::uint64_t>();
    const auto bytes = check.at(2).get<std::uint64_t>();
    result.bytes += bytes;
    if (bytes > 0) ++result.shards;
    for (const Json& fault : check.at(4)) {
      std::optional<std::uint64_t> row;
      if (!fault.at(0).is_null()) row = fault.at(0).get<std::uint64_t>();
      result.faults.push_back({file, row, fault.at(1).get<std::string>(), fault.at(2).get<std::string>()});
    }
    const std::uint64_t unlisted = check.at(3).get<std::uint64_t>() - check.at(4).size();
    if (unlisted > 0) result.unlisted[file] = unlisted;
  }
  result.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  return result;
}

void collect_faults(Inspection& inspection) {
  std::set<std::string> files;
  std::set<std::pair<std::string, std::uint64_t>> rows;
  const auto add = [&](std::vector<ShardFault> faults) {
    std::erase_if(faults, [&](const ShardFault& fault) {
      return fault.row ? rows.contains({fault.file, *fault.row}) : files.contains(fault.file);
    });
    for (const ShardFault& fault : faults) {
      files.insert(fault.file);
      if (fault.row) rows.emplace(fault.file, *fault.row);
    }
    inspection.faults.insert(inspection.faults.end(), faults.begin(), faults.end());
  };
  if (inspection.verification) add(inspection.verification->faults);
  add(inspection.summary.faults);
  if (inspection.sheet) add(inspection.sheet->faults);
}

std::string to_text(const Inspection& inspection, const std::filesystem::path& sheet) {
  const Manifest& manifest = inspection.collection.manifest;
  const CorpusSummary& summary = inspection.summary;
  std::string text = fmt::format("{}\n{}, {}: {} pictures of {} in {} of files\n", inspection.collection.path.native(),
                                 runtime::counted(static_cast<std::uint64_t>(manifest.shards_size()), "shard"),
                                 runtime::counted(manifest.generations(), "generation"), summary.samples,
                                 runtime::format_bytes(summary.bytes), runtime::format_bytes(summary.file_bytes));
  text += to_text(summary, manifest);
  if (inspection.sheet) {
    text += fmt::format("\n{}: {} x {} pixels, a row for each of\n", sheet.native(), inspection.sheet->width,
                        inspection.sheet->height);
    for (const ContactSheet::Row& row : inspection.sheet->rows) {
      text +=
          fmt::format("  {:<24} {:<10} {} pictures\n", printable(inspection.collection.source(row.source).name(), 24),
                      to_string(row.split), row.keys.size());
    }
    if (inspection.sheet->left_out > 0) text += fmt::format("  ({} more had no room)\n", inspection.sheet->left_out);
  }
  if (inspection.verification) {
    text += fmt::format("\n{}, {} pictures, {} verified in {:.1f} s\n",
                        runtime::counted(inspection.verification->shards, "shard"), inspection.verification->pictures,
                        runtime::format_bytes(inspection.verification->bytes), inspection.verification->seconds);
  }
  return inspection.faults.empty() ? text : text + faults_text(inspection);
}

std::string to_json(const Inspection& inspection, const std::filesystem::path& sheet) {
  const Collection& collection = inspection.collection;
  const CorpusSummary& summary = inspection.summary;
  Json document{{"path", collection.path.native()},
                {"kind", collection.is_lone ? "shard" : "manifest"},
                {"shards", collection.manifest.shards_size()},
                {"readable_shards", summary.shards},
                {"generations", collection.manifest.generations()},
                {"samples", summary.samples},
                {"withdrawn", summary.withdrawn},
                {"bytes", summary.bytes},
                {"file_bytes", summary.file_bytes},
                {"settings", settings_json(collection.manifest.settings())},
                {"sources", Json::array()},
                {"groups", Json::array()}};
  for (const Manifest::Source& source : collection.manifest.sources())
    document["sources"].push_back(source_json(source));
  for (const GroupSummary& group : summary.groups) {
    document["groups"].push_back(group_json(group, collection.source(group.source).name()));
  }
  if (inspection.sheet) {
    Json rows = Json::array();
    for (const ContactSheet::Row& row : inspection.sheet->rows) {
      rows.push_back(
          {{"source", collection.source(row.source).name()}, {"split", to_string(row.split)}, {"keys", row.keys}});
    }
    document["sheet"] = {{"file", sheet.native()},
                         {"width", inspection.sheet->width},
                         {"height", inspection.sheet->height},
                         {"rows", rows},
                         {"left_out", inspection.sheet->left_out}};
  }
  if (inspection.verification) {
    document["verification"] = {{"shards", inspection.verification->shards},
                                {"pictures", inspection.verification->pictures},
                                {"bytes", inspection.verification->bytes},
                                {"seconds", number(inspection.verification->seconds)},
                                {"unlisted_faults", Json(inspection.verification->unlisted)}};
  }
  document["faults"] = Json::array();
  for (const ShardFault& fault : inspection.faults) {
    document["faults"].push_back({{"file", fault.file},
                                  {"row", fault.row ? Json(*fault.row) : Json()},
                                  {"key", fault.key},
                                  {"what", fault.what}});
  }
  return document.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
}

}  // namespace cskd::inspect
