#include "stages/shard.h"

#include <algorithm>
#include <chrono>

#include <fmt/format.h>
#include <nlohmann/json.hpp>
#include <spdlog/spdlog.h>

#include "runtime/atomic_file.h"
#include "runtime/error.h"
#include "runtime/failure_point.h"
#include "runtime/free_space.h"
#include "runtime/stop_signal.h"
#include "runtime/work_counter.h"
#include "shards/importers/importer.h"
#include "shards/manifest.h"
#include "stages/packing_plan.h"

namespace cskd::stages {
namespace {

// Every rank lists by itself; all must see the same.
std::vector<CheckedSource> list_sources(const Context& context) {
  std::vector<CheckedSource> sources;
  runtime::ContentHasher hasher;
  for (const config::Source& source : context.config.sources()) {
    sources.push_back({source.name(), config::Source::Kind_Name(source.kind()), shards::list_source(source), {}});
    for (const shards::Entry& entry : sources.back().listing.entries) {
      hasher.add_field(entry.key);
      hasher.add_field(entry.size);
    }
  }
  const std::string own = hasher.hash().hex();
  const std::vector<std::string> all = context.world.all_gather(own);
  const auto other = std::find_if(all.begin(), all.end(), [&](const std::string& hash) { return hash != own; });
  if (other != all.end()) {
    throw runtime::DataError(
        fmt::format("rank {} and rank {} see other pictures in the sources: are all of them on a shared file system?",
                    context.world.rank(), other - all.begin()));
  }
  return sources;
}

void check_sources(std::vector<CheckedSource>& sources, const Context& context) {
  std::vector<const shards::Entry*> entries;
  for (const CheckedSource& source : sources) {
    for (const shards::Entry& entry : source.listing.entries) entries.push_back(&entry);
  }
  std::vector<CheckedImage> images =
      check_images(entries, context.world, context.loader_threads,
                   [&](std::int64_t done, std::int64_t total) { context.progress("checking", done, total); });
  auto next = images.begin();
  for (CheckedSource& source : sources) {
    const auto end = next + static_cast<std::ptrdiff_t>(source.listing.entries.size());
    source.images.assign(std::make_move_iterator(next), std::make_move_iterator(end));
    next = end;
  }
}

void refuse_many_faults(const PackingPlan& plan, const std::vector<CheckedSource>& sources, double limit) {
  std::uint64_t total = 0;
  for (const CheckedSource& source : sources) total += source.listing.entries.size() + source.listing.faults.size();
  if (static_cast<double>(plan.quarantined.size()) <= limit * static_cast<double>(total)) return;
  const Dropped& first = plan.quarantined.front();
  throw runtime::DataError(fmt::format(
      "{} of {} pictures cannot be used, more than packing.max_fault_rate = {} allows; the first is '{}' of '{}': {}",
      plan.quarantined.size(), total, limit, first.key, sources[first.source].name, first.reason));
}

std::string lines(const std::vector<Dropped>& dropped, const std::vector<CheckedSource>& sources, const char* what) {
  std::string text;
  for (const Dropped& sample : dropped) {
    const nlohmann::ordered_json line{
        {"source", sources[sample.source].name}, {"key", sample.key}, {"what", what}, {"reason", sample.reason}};
    text += line.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
  }
  return text;
}

// Entry i of the result is shard i's of the plan; all ranks get all.
std::vector<shards::Manifest::Shard> write_shards(const PackingPlan& plan, const std::vector<CheckedSource>& sources,
                                                  const Context& context) {
  const auto total = static_cast<std::int64_t>(plan.shards.size());
  std::string made;
  bool stopped = false;
  {
    runtime::WorkCounter counter(context.world, total);
    for (std::int64_t i = counter.next(); i < total; i = counter.next()) {
      runtime::failure_point("shard.next", context.folder.shards().native());
      if (runtime::StopSignal::received() != 0) {
        stopped = true;
        break;
      }
      const auto index = static_cast<size_t>(i);
      const shards::ShardPlan& shard = plan.shards[index];
      std::optional<shards::Manifest::Shard> entry = shards::find_image_shard(context.folder.shards(), shard);
      if (!entry) {
        const std::vector<shards::Entry>& entries = sources[shard.source].listing.entries;
        entry = shards::write_image_shard(context.folder.shards(), shard,
                                          [&](size_t row) { return read_entry(entries[plan.entries[index][row]]); });
      }
      const std::string text = entry->SerializeAsString();
      made += fmt::format("{} {}\n", i, text.size()) + text;
      if (context.world.rank() == 0) context.progress("packing", i + 1, total);
    }
  }
  if (context.world.any(stopped)) {
    throw runtime::Error("a signal asked to stop while shards were written; start again to go on",
                         runtime::ExitCode::kRequeue);
  }
  std::vector<shards::Manifest::Shard> entries(plan.shards.size());
  for (const std::string& text : context.world.all_gather(made)) {
    for (size_t at = 0; at < text.size();) {
      const size_t end = text.find('\n', at);
      const size_t blank = text.find(' ', at);
      const size_t index = std::stoull(text.substr(at, blank - at));
      const size_t length = std::stoull(text.substr(blank + 1, end - blank - 1));
      entries.at(index).ParseFromString(text.substr(end + 1, length));
      at = end + 1 + length;
    }
  }
  return entries;
}

shards::Manifest make_manifest(const PackingPlan& plan, const std::vector<CheckedSource>& sources,
                               const std::vector<shards::Manifest::Shard>& entries) {
  shards::Manifest manifest;
  for (const CheckedSource& source : sources) {
    shards::Manifest::Source& entry = *manifest.add_sources();
    entry.set_name(source.name);
    entry.set_kind(source.kind);
    entry.mutable_bin_centres()->Assign(source.listing.bin_centres.begin(), source.listing.bin_centres.end());
  }
  for (const shards::Manifest::Shard& shard : entries) {
    *manifest.add_shards() = shard;
    shards::Manifest::Source& source = *manifest.mutable_sources(static_cast<int>(shard.source()));
    source.set_packed(source.packed() + shard.samples());
  }
  const auto source_of = [&](const Dropped& sample) {
    return manifest.mutable_sources(static_cast<int>(sample.source));
  };
  for (const Dropped& sample : plan.duplicates) source_of(sample)->set_duplicates(source_of(sample)->duplicates() + 1);
  for (const Dropped& sample : plan.leaked) source_of(sample)->set_leaked(source_of(sample)->leaked() + 1);
  for (const Dropped& sample : plan.quarantined)
    source_of(sample)->set_quarantined(source_of(sample)->quarantined() + 1);
  manifest.set_leak_gate_passed(true);
  return manifest;
}

}  // namespace

runtime::ContentHash shard_inputs(const config::Config& config) {
  runtime::ContentHasher hasher;
  for (const config::Source& source : config.sources()) hasher.add_field(source.SerializeAsString());
  hasher.add_field(config.packing().SerializeAsString());
  return hasher.hash();
}

StageOutcome run_shard(const Context& context) {
  const runtime::ContentHash inputs = shard_inputs(context.config);
  const std::filesystem::path folder = context.folder.shards();
  if (const auto done = agree_on_completion(folder, inputs, context.world))
    return {.completion = *done, .done_before = true};
  if (context.config.sources().empty())
    throw runtime::UsageError("the configuration has no [[sources]]: there is nothing to pack");

  const auto start = std::chrono::steady_clock::now();
  make_stage_folder(folder, context.world);
  std::vector<CheckedSource> sources = list_sources(context);
  check_sources(sources, context);
  const config::Packing& packing = context.config.packing();
  const PackingPlan plan = plan_packing(sources, {packing.max_samples(), std::uint64_t{packing.max_size()} << 20});
  refuse_many_faults(plan, sources, packing.max_fault_rate());
  std::uint64_t bytes = 0;
  std::uint64_t packed = 0;
  for (const shards::ShardPlan& shard : plan.shards) {
    for (const shards::ShardRow& row : shard.rows) bytes += row.size;
    packed += shard.rows.size();
  }
  if (packed == 0) throw runtime::DataError("not one picture of the sources can be used");
  if (context.world.rank() == 0) {
    runtime::remove_temporary_files(folder);
    runtime::require_free_space(folder, bytes + bytes / 16, "the image shards");
  }
  context.world.barrier();
  const std::vector<shards::Manifest::Shard> entries = write_shards(plan, sources, context);

  Completion completion{.stage = "shard", .inputs = inputs};
  completion.images = packed + plan.duplicates.size() + plan.leaked.size() + plan.quarantined.size();
  completion.facts = nlohmann::ordered_json{{"packed", packed},
                                            {"duplicates", plan.duplicates.size()},
                                            {"quarantined", plan.quarantined.size()},
                                            {"leaked", plan.leaked.size()}}
                         .dump();
  completion.products = {shards::kManifestFile, "quarantine.jsonl", "dropped.jsonl"};
  completion.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  if (context.world.rank() == 0) {
    runtime::write_file_atomically(folder / "quarantine.jsonl", lines(plan.quarantined, sources, "quarantined"));
    runtime::write_file_atomically(
        folder / "dropped.jsonl", lines(plan.leaked, sources, "leaked") + lines(plan.duplicates, sources, "duplicate"));
    shards::write_manifest(folder, make_manifest(plan, sources, entries));
    write_completion(folder, completion);
  }
  context.world.barrier();
  return {.completion = completion};
}

}  // namespace cskd::stages
