#include "packing/packed_corpus.h"

#include <algorithm>
#include <set>
#include <sstream>

#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include "config/toml_writer.h"
#include "runtime/error.h"
#include "runtime/failure_point.h"
#include "runtime/input_file.h"
#include "runtime/threads.h"
#include "runtime/work_queue.h"
#include "shards/image_shard/reader.h"

namespace cskd::packing {
namespace {

using shards::Manifest;
using Settings = google::protobuf::RepeatedPtrField<Manifest::Setting>;

// Keys and values, without the keys that do not decide what is packed.
std::vector<Manifest::Setting> settings_of(const google::protobuf::Message& message, const std::string& path,
                                           const std::set<std::string>& passed_over) {
  std::vector<Manifest::Setting> settings;
  for (const auto& [key, value] : config::settings_of(message, path)) {
    if (passed_over.contains(key.substr(path.size() + 1))) continue;
    Manifest::Setting& setting = settings.emplace_back();
    setting.set_key(key);
    setting.set_value(value);
  }
  return settings;
}

void refuse_other_settings(const Settings& packed, const std::vector<Manifest::Setting>& wanted,
                           const std::filesystem::path& folder) {
  std::string differing;
  for (const Manifest::Setting& setting : wanted) {
    const auto same_key = [&](const Manifest::Setting& other) { return other.key() == setting.key(); };
    const auto other = std::find_if(packed.begin(), packed.end(), same_key);
    const std::string before = other == packed.end() ? "unknown" : other->value();
    if (before != setting.value())
      differing +=
          fmt::format("{}{} (was {}, is {})", differing.empty() ? "" : ", ", setting.key(), before, setting.value());
  }
  for (const Manifest::Setting& setting : packed) {
    // A key that has its default value now and came later than others, which are always listed.
    if (std::ranges::find(wanted, setting.key(), &Manifest::Setting::key) == wanted.end())
      differing +=
          fmt::format("{}{} (was {}, is not given)", differing.empty() ? "" : ", ", setting.key(), setting.value());
  }
  if (differing.empty()) return;
  throw runtime::UsageError(
      fmt::format("{} was made with another configuration: {}; restore it, choose another run.folder, or remove the "
                  "folder to pack afresh",
                  folder.native(), differing));
}

const config::Source* find_source(const config::Config& config, const std::string& name) {
  const auto same_name = [&](const config::Source& source) { return source.name() == name; };
  const auto found = std::find_if(config.sources().begin(), config.sources().end(), same_name);
  return found == config.sources().end() ? nullptr : &*found;
}

void refuse_other_sources(const Manifest& manifest, const config::Config& config, const std::filesystem::path& folder) {
  for (const Manifest::Source& packed : manifest.sources()) {
    const config::Source* source = find_source(config, packed.name());
    if (source == nullptr) {
      throw runtime::UsageError(
          fmt::format("{} holds the source '{}', which the configuration lacks: restore it, choose another run.folder, "
                      "or remove the folder to pack afresh",
                      folder.native(), packed.name()));
    }
    refuse_other_settings(packed.settings(), source_settings(*source), folder);
  }
}

bool is_whole(const std::filesystem::path& path, const Manifest::Shard& shard) {
  try {
    const runtime::InputFile file(path);
    const std::string& hash = shard.file_hash();
    return file.size() == shard.file_size() && runtime::content_hash(file) == runtime::ContentHash::from_bytes(hash);
  } catch (const runtime::Error&) {
    return false;
  }
}

// Positions of the manifest's shards that are missing or damaged.
std::set<int> find_lost_shards(const PackingContext& context, const Manifest& manifest) {
  std::string lost;
  std::mutex mutex;
  {
    const std::int64_t total = manifest.shards_size();
    runtime::WorkQueue queue(context.world, total, {.takers = context.threads});
    runtime::run_on_threads(context.threads, [&](int) {
      while (const auto i = queue.next()) {
        runtime::failure_point("shard.verify", context.folder.native());
        const Manifest::Shard& shard = manifest.shards(static_cast<int>(*i));
        if (is_whole(context.folder / shard.file(), shard)) continue;
        const std::lock_guard lock(mutex);
        lost += fmt::format("{} ", *i);
      }
    });
    queue.finish("shards were compared with the manifest");
  }
  std::set<int> all;
  for (const std::string& text : context.world.all_gather(lost)) {
    std::istringstream numbers(text);
    for (int i = 0; numbers >> i;) all.insert(i);
  }
  return all;
}

// The manifest that rank 0 reads; nothing when there is none or it is damaged.
std::optional<Manifest> read_on_rank_0(const PackingContext& context) {
  const std::filesystem::path folder = context.folder;
  std::string text;
  if (context.world.rank() == 0 && std::filesystem::exists(folder / shards::kManifestFile)) {
    try {
      text = shards::read_manifest(folder).SerializeAsString();
    } catch (const runtime::DataError& error) {
      spdlog::warn("{}: packing starts afresh, with the shards that are whole", error.what());
    }
  }
  text = context.world.broadcast(text);
  if (text.empty()) return std::nullopt;
  Manifest manifest;
  manifest.ParseFromString(text);
  return manifest;
}

}  // namespace

std::vector<Manifest::Setting> packing_settings(const config::Config& config) {
  return settings_of(config.packing(), "packing", {"max_fault_rate", "when_gone"});
}

std::vector<Manifest::Setting> source_settings(const config::Source& source) {
  // Where it lies, how its pictures may be named and how often it is seen may change.
  return settings_of(source, fmt::format("sources.{}", source.name()),
                     {"name", "path", "images", "weight", "absolute_paths"});
}

std::optional<Manifest> find_packed_corpus(const PackingContext& context) {
  std::optional<Manifest> manifest = read_on_rank_0(context);
  if (!manifest) return std::nullopt;
  const std::filesystem::path folder = context.folder;
  refuse_other_settings(manifest->settings(), packing_settings(context.config), folder);
  refuse_other_sources(*manifest, context.config, folder);
  const std::set<int> lost = find_lost_shards(context, *manifest);
  if (lost.empty()) return manifest;
  if (context.world.rank() == 0) {
    for (const int i : lost)
      spdlog::warn("{} is missing or damaged: its pictures are packed again",
                   (folder / manifest->shards(i).file()).native());
  }
  if (manifest->generations() <= 1) return std::nullopt;
  Manifest rest = *manifest;
  rest.clear_shards();
  for (int i = 0; i < manifest->shards_size(); ++i) {
    if (!lost.contains(i)) *rest.add_shards() = manifest->shards(i);
  }
  return rest;
}

std::vector<config::Source> ordered_sources(const config::Config& config, const std::optional<Manifest>& packed) {
  std::vector<config::Source> sources;
  std::set<std::string> known;
  if (packed) {
    for (const Manifest::Source& source : packed->sources()) {
      sources.push_back(*find_source(config, source.name()));
      known.insert(source.name());
    }
  }
  for (const config::Source& source : config.sources()) {
    if (!known.contains(source.name())) sources.push_back(source);
  }
  return sources;
}

void for_each_packed_row(const std::filesystem::path& folder, const Manifest& manifest, const TakePackedRow& take) {
  for (int i = 0; i < manifest.shards_size(); ++i) {
    const Manifest::Shard& shard = manifest.shards(i);
    const std::string& source_name = manifest.sources(static_cast<int>(shard.source())).name();
    const shards::ImageShardReader reader(folder / shard.file(), shard, source_name);
    const std::vector<shards::ShardLook> looks = reader.looks();
    const std::set<std::uint64_t> withdrawn(shard.withdrawn().begin(), shard.withdrawn().end());
    for (std::uint64_t row = 0; row < shard.samples(); ++row) {
      if (withdrawn.contains(row)) continue;
      const std::string key = reader.key(row);
      take({.pixel_hash = looks[row].pixel_hash,
            .phash = looks[row].phash,
            .key_hash = key_hash(source_name, key),
            .source = shard.source(),
            .split = static_cast<shards::Split>(shard.split()),
            .packed = 1,
            .thumbnail = looks[row].thumbnail},
           key, reader.hash(row));
    }
  }
}

std::uint64_t count_packed_rows(const Manifest& manifest) {
  std::uint64_t count = 0;
  for (const Manifest::Shard& shard : manifest.shards())
    count += shard.samples() - static_cast<std::uint64_t>(shard.withdrawn_size());
  return count;
}

}  // namespace cskd::packing
