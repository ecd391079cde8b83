#include "packing/pack.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <cstring>
#include <mutex>
#include <set>

#include <fmt/format.h>
#include <nlohmann/json.hpp>
#include <spdlog/spdlog.h>

#include "config/toml_writer.h"
#include "packing/duplicates.h"
#include "packing/index_writer.h"
#include "packing/lists.h"
#include "packing/packed_corpus.h"
#include "packing/packing_context.h"
#include "packing/shard_plan.h"
#include "packing/source_changes.h"
#include "packing/survey.h"
#include "runtime/atomic_file.h"
#include "runtime/check.h"
#include "runtime/error.h"
#include "runtime/failure_point.h"
#include "runtime/free_space.h"
#include "runtime/shared_files.h"
#include "runtime/threads.h"
#include "runtime/work_queue.h"
#include "shards/importers/importer.h"
#include "shards/manifest.h"

namespace cskd::packing {
namespace {

using shards::Manifest;
using MaybePacked = std::optional<Manifest>;

constexpr std::uint64_t kSortMemory = 256ULL << 20;
constexpr std::uint64_t kWorkingBytes = 400;  // of disk for each picture: index, and what is sorted

// What became of the pictures of a source.
struct SourceCount {
  std::uint64_t listed = 0;
  std::uint64_t quarantined = 0;
  std::array<std::uint64_t, 5> lost{};  // by DropKind

  std::uint64_t dropped_as(DropKind kind) const { return lost[static_cast<std::size_t>(kind)]; }
};

std::vector<SourceCount> count(const SampleIndex& index, const DropList& drops, std::size_t sources) {
  std::vector<SourceCount> counts(sources);
  DropCursor cursor(drops);
  index.for_each([&](std::uint64_t number, const IndexRecord& record) {
    if (record.packed != 0) return;
    SourceCount& source = counts[record.source];
    ++source.listed;
    if (record.faulty != 0) ++source.quarantined;
    if (const Drop* drop = cursor.of(number)) ++source.lost[static_cast<std::size_t>(drop->kind)];
  });
  return counts;
}

void refuse_many_faults(const std::vector<SourceCount>& counts, const Survey& survey, double limit) {
  std::uint64_t total = 0;
  std::uint64_t faulty = 0;
  for (const SourceCount& source : counts) {
    total += source.listed;
    faulty += source.quarantined;
  }
  if (static_cast<double>(faulty) <= limit * static_cast<double>(total)) return;
  for (const Chunk& chunk : survey.chunks()) {
    const shards::SurveyChunk pictures = survey.read(chunk);
    for (const auto& picture : pictures.pictures()) {
      if (picture.fault().empty()) continue;
      throw runtime::DataError(
          fmt::format("{} of {} pictures cannot be used, more than packing.max_fault_rate = {} allows; the first is "
                      "'{}' of '{}': {}",
                      faulty, total, limit, picture.key(), survey.sources()[chunk.source].name(), picture.fault()));
    }
  }
}

[[noreturn]] void refuse_all(const Survey& survey) {
  for (const Chunk& chunk : survey.chunks()) {
    const shards::SurveyChunk pictures = survey.read(chunk);
    for (const auto& picture : pictures.pictures()) {
      if (picture.fault().empty()) continue;
      const config::Source& source = survey.sources()[chunk.source];
      throw runtime::DataError(fmt::format("not one of {} pictures can be used; the first is '{}' of '{}' ({}): {}",
                                           survey.samples(), picture.key(), source.name(), source.path(),
                                           picture.fault()));
    }
  }
  throw runtime::DataError(fmt::format("not one of {} pictures can be used", survey.samples()));
}

Manifest::Shard find_or_write(const PlannedShard& shard, const Survey& survey, const std::filesystem::path& folder) {
  runtime::failure_point("shard.next", folder.native());
  if (auto entry = shards::find_image_shard(folder, shard.plan)) return *entry;
  return shards::write_image_shard(folder, shard.plan, [&](std::size_t row, std::span<std::byte> target) {
    survey.read_stored(*shard.chunks[row], shard.pictures[row], target);
  });
}

// The entries of the new shards, in the order of the cuts; all ranks get all.
std::vector<Manifest::Shard> write_shards(const PackingContext& context, const Survey& survey,
                                          const PackingOrder& order, std::uint64_t packed_rows,
                                          const std::vector<ShardCut>& cuts, std::uint32_t generation) {
  std::string made;
  std::mutex mutex;
  {
    const auto total = static_cast<std::int64_t>(cuts.size());
    runtime::WorkQueue queue(context.world, total, {.takers = context.threads});
    runtime::run_on_threads(context.threads, [&](int thread) {
      while (const auto i = queue.next()) {
        const ShardCut& cut = cuts[static_cast<std::size_t>(*i)];
        const PlannedShard planned = plan_shard(survey, order, packed_rows, cut, generation);
        const std::string text = find_or_write(planned, survey, context.folder).SerializeAsString();
        {
          const std::lock_guard lock(mutex);
          made += fmt::format("{} {}\n", *i, text.size()) + text;
        }
        if (context.world.rank() == 0 && thread == 0) context.progress("packing", *i + 1, total);
      }
    });
    queue.finish("shards were written");
    if (context.world.rank() == 0 && total > 0) context.progress("packing", total, total);
  }
  std::vector<Manifest::Shard> entries(cuts.size());
  for (const std::string& text : context.world.all_gather(made)) {
    for (std::size_t at = 0; at < text.size();) {
      const std::size_t end = text.find('\n', at);
      const std::size_t blank = text.find(' ', at);
      const std::size_t position = std::stoull(text.substr(at, blank - at));
      const std::size_t length = std::stoull(text.substr(blank + 1, end - blank - 1));
      entries.at(position).ParseFromString(text.substr(end + 1, length));
      at = end + 1 + length;
    }
  }
  return entries;
}

// What rank 0 counted and cut, for all ranks.
struct Decision {
  std::vector<SourceCount> counts;
  std::vector<ShardCut> cuts;
};
static_assert(std::is_trivially_copyable_v<SourceCount> && std::is_trivially_copyable_v<ShardCut>);

template <typename Item>
void broadcast(runtime::World& world, std::vector<Item>& items) {
  const std::string text = world.broadcast({reinterpret_cast<const char*>(items.data()), items.size() * sizeof(Item)});
  items.resize(text.size() / sizeof(Item));
  std::memcpy(items.data(), text.data(), text.size());
}

// Collective. All ranks see the file of the order afterwards.
Decision decide(const PackingContext& context, const Survey& survey, const SampleIndex& index, const DropList& drops,
                const std::filesystem::path& order) {
  Decision decision;
  if (context.world.rank() == 0) {
    const config::Packing& packing = context.config.packing();
    decision.counts = count(index, drops, survey.sources().size());
    write_packing_order(index, drops, context.config.packing().seed(), kSortMemory, order);
    decision.cuts = cut_into_shards(
        PackingOrder(order), {.samples = packing.max_samples(), .bytes = std::uint64_t{packing.max_size()} << 20});
  }
  broadcast(context.world, decision.counts);
  broadcast(context.world, decision.cuts);
  return decision;
}

// What one rank does for all while the others wait takes longer with more pictures.
class LongerWait {
 public:
  LongerWait(runtime::World& world, std::uint64_t pictures) : world_(world), before_(world.timeout()) {
    constexpr std::uint64_t kPicturesASecond = 20'000;
    world.set_timeout(before_ + std::chrono::seconds(pictures / kPicturesASecond));
  }
  ~LongerWait() { world_.set_timeout(before_); }
  LongerWait(const LongerWait&) = delete;
  LongerWait& operator=(const LongerWait&) = delete;

 private:
  runtime::World& world_;
  std::chrono::milliseconds before_;
};

void tell_passed_over(const Survey& survey) {
  for (std::size_t i = 0; i < survey.sources().size(); ++i) {
    std::uint64_t all = 0;
    for (const auto& [what, count] : survey.passed_over(i)) all += count;
    if (all > 0) {
      spdlog::info("source '{}': {} files were passed over, no pictures by their names: {} (see {})",
                   survey.sources()[i].name(), all, text_of_kinds(survey.passed_over(i)), kPassedOverFile);
    }
  }
}

void tell_changes(const PackingContext& context, const std::vector<SourceChanges>& changes, const Survey& survey) {
  const bool keeps = context.config.packing().when_gone() == config::keep;
  for (std::size_t i = 0; i < changes.size(); ++i) {
    const SourceChanges& source = changes[i];
    if (source.changed + source.relabelled + source.gone == 0) continue;
    spdlog::info("source '{}' has changed since it was packed: {} changed, {} relabelled, {} gone{}",
                 survey.sources()[i].name(), source.changed, source.relabelled, source.gone,
                 keeps && source.gone > 0 ? " (kept: packing.when_gone)" : "");
  }
}

// Adds the dropped pictures among packed rows to the rows that nobody may use.
void withdraw(Manifest& manifest, const DropList& drops) {
  DropCursor cursor(drops);
  std::uint64_t number = 0;
  for (Manifest::Shard& shard : *manifest.mutable_shards()) {
    std::set<std::uint32_t> withdrawn(shard.withdrawn().begin(), shard.withdrawn().end());
    for (std::uint32_t row = 0; row < shard.samples(); ++row) {
      if (withdrawn.contains(row)) continue;
      if (cursor.of(number++) != nullptr) withdrawn.insert(row);
    }
    shard.mutable_withdrawn()->Assign(withdrawn.begin(), withdrawn.end());
  }
}

Manifest make_manifest(const PackingContext& context, const MaybePacked& packed, const Survey& survey,
                       const std::vector<SourceCount>& counts, const DropList& drops,
                       const std::vector<Manifest::Shard>& entries) {
  Manifest manifest;
  if (packed) manifest = *packed;
  withdraw(manifest, drops);
  manifest.clear_sources();
  manifest.clear_settings();
  for (const Manifest::Shard& shard : entries) *manifest.add_shards() = shard;
  for (std::size_t i = 0; i < counts.size(); ++i) {
    const config::Source& source = survey.sources()[i];
    Manifest::Source& entry = *manifest.add_sources();
    entry.set_name(source.name());
    entry.set_kind(config::Source::Kind_Name(source.kind()));
    const std::vector<float> centres = shards::bin_centres(source);
    entry.mutable_bin_centres()->Assign(centres.begin(), centres.end());
    entry.set_split_rule(config::Source::SplitRule_Name(source.split()));
    entry.set_weight(source.weight());
    for (const Manifest::Setting& setting : source_settings(source)) *entry.add_settings() = setting;
    entry.set_duplicates(counts[i].dropped_as(DropKind::kDuplicate));
    entry.set_near_duplicates(counts[i].dropped_as(DropKind::kNearDuplicate));
    entry.set_leaked(counts[i].dropped_as(DropKind::kLeaked) + counts[i].dropped_as(DropKind::kNearlyLeaked));
    entry.set_quarantined(counts[i].quarantined);
    for (const auto& [what, count] : survey.passed_over(i)) entry.set_passed_over(entry.passed_over() + count);
  }
  for (const Manifest::Shard& shard : manifest.shards()) {
    Manifest::Source& source = *manifest.mutable_sources(static_cast<int>(shard.source()));
    source.set_packed(source.packed() + shard.samples() - static_cast<std::uint64_t>(shard.withdrawn_size()));
  }
  manifest.set_leak_gate_passed(true);
  for (const Manifest::Setting& setting : packing_settings(context.config)) *manifest.add_settings() = setting;
  manifest.set_generations((packed ? packed->generations() : 0) + (entries.empty() ? 0 : 1));
  return manifest;
}

// Shards that no manifest names: of a packing that was interrupted, and then went on from other sources.
void remove_unknown_shards(const std::filesystem::path& folder, const Manifest& manifest) {
  std::set<std::string> known;
  for (const Manifest::Shard& shard : manifest.shards()) known.insert(shard.file());
  std::vector<std::filesystem::path> unknown;
  for (const auto& item : std::filesystem::directory_iterator(folder)) {
    if (item.path().extension() == ".h5" && !known.contains(item.path().filename().native()))
      unknown.push_back(item.path());
  }
  for (const std::filesystem::path& path : unknown) runtime::remove_leftover(path, "the shard");
}

std::string facts_of(const Manifest& manifest, const std::vector<SourceChanges>& changes, std::uint64_t added,
                     std::uint64_t bytes) {
  nlohmann::ordered_json facts{{"packed", 0},    {"duplicates", 0},  {"near_duplicates", 0},
                               {"leaked", 0},    {"quarantined", 0}, {"passed_over", 0},
                               {"changed", 0},   {"relabelled", 0},  {"gone", 0},
                               {"added", added}, {"bytes", bytes},   {"shards", manifest.shards_size()}};
  nlohmann::ordered_json sources = nlohmann::ordered_json::array();
  for (int i = 0; i < manifest.sources_size(); ++i) {
    const Manifest::Source& source = manifest.sources(i);
    const SourceChanges& change = changes[static_cast<std::size_t>(i)];
    const nlohmann::ordered_json figures{{"packed", source.packed()},
                                         {"duplicates", source.duplicates()},
                                         {"near_duplicates", source.near_duplicates()},
                                         {"leaked", source.leaked()},
                                         {"quarantined", source.quarantined()},
                                         {"passed_over", source.passed_over()},
                                         {"changed", change.changed},
                                         {"relabelled", change.relabelled},
                                         {"gone", change.gone}};
    for (const auto& [name, figure] : figures.items())
      facts[name] = facts[name].get<std::uint64_t>() + figure.get<std::uint64_t>();
    nlohmann::ordered_json entry{{"name", source.name()}};
    entry.update(figures);
    sources.push_back(entry);
  }
  facts["sources"] = sources;
  return facts.dump();
}

std::uint64_t bytes_of(const Manifest& manifest) {
  std::uint64_t bytes = 0;
  for (const Manifest::Shard& shard : manifest.shards()) bytes += shard.total_bytes();
  return bytes;
}

}  // namespace

runtime::Inputs shard_inputs(const config::Config& config) {
  runtime::Inputs inputs;
  for (const config::Source& source : config.sources())
    inputs.add(config::settings_of(source, "sources." + source.name()));
  inputs.add(config::settings_of(config.packing(), "packing"));
  return inputs;
}

run::StageOutcome run_shard(const run::Context& stage) {
  const PackingContext context{stage.config, stage.world, stage.folder.shards(), stage.loader_threads, stage.progress};
  const runtime::Inputs inputs = shard_inputs(context.config);
  const std::filesystem::path& folder = context.folder;
  if (!stage.looks_for_new) {
    if (const auto done = run::agree_on_completion(folder, inputs, context.world, run::OtherInputs::kMakeAgain))
      return {.completion = *done, .done_before = true};
  }
  if (context.config.sources().empty())
    throw runtime::UsageError("the configuration has no [[sources]]: there is nothing to pack");

  const auto start = std::chrono::steady_clock::now();
  run::make_stage_folder(folder, context.world);
  MaybePacked packed = find_packed_corpus(context);
  if (context.world.rank() == 0) runtime::remove_temporary_files(folder);
  const Survey survey(context, ordered_sources(context.config, packed));
  const LongerWait wait(context.world, survey.samples());
  const std::filesystem::path work = survey.work_folder();
  if (context.world.rank() == 0)
    runtime::require_free_space(work, kWorkingBytes * survey.samples(), "the working files of packing");
  const MaybePacked before = packed;
  const std::vector<SourceChanges> changes = withdraw_stale_rows(context, survey, work, packed);
  if (context.world.rank() == 0) {
    tell_passed_over(survey);
    tell_changes(context, changes, survey);
  }
  const SampleIndex index = write_index(context, survey, packed, work);
  const config::Packing& packing = context.config.packing();
  const DropList drops = find_drops(index,
                                    {.distance = static_cast<int>(packing.near_duplicate_distance()),
                                     .drop_near = packing.drop_near_duplicates(),
                                     .threads = context.threads},
                                    context.world, work);
  const Decision decision = decide(context, survey, index, drops, work / "order");
  refuse_many_faults(decision.counts, survey, packing.max_fault_rate());
  const std::uint64_t packed_rows = packed ? count_packed_rows(*packed) : 0;
  std::uint64_t added = 0;
  std::uint64_t bytes = 0;
  for (const ShardCut& cut : decision.cuts) {
    added += cut.samples;
    bytes += cut.bytes;
  }
  if (packed_rows + added == 0) refuse_all(survey);
  if (context.world.rank() == 0) runtime::require_free_space(folder, bytes + bytes / 16, "the image shards");
  context.world.barrier();
  const std::vector<Manifest::Shard> entries = write_shards(context, survey, PackingOrder(work / "order"), packed_rows,
                                                            decision.cuts, packed ? packed->generations() : 0);

  const Manifest manifest = make_manifest(context, packed, survey, decision.counts, drops, entries);
  const bool nothing_new = before && before->SerializeAsString() == manifest.SerializeAsString();
  run::Completion completion{.stage = "shard", .inputs = inputs};
  completion.images = survey.samples();
  completion.facts = facts_of(manifest, changes, added, bytes_of(manifest));
  completion.products = {shards::kManifestFile, kQuarantineFile, kDroppedFile, kPassedOverFile};
  completion.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  if (context.world.rank() == 0) {
    const bool lists_are_there =
        std::all_of(std::next(completion.products.begin()), completion.products.end(),
                    [&](const std::string& list) { return std::filesystem::exists(folder / list); });
    if (!nothing_new || !lists_are_there) {
      write_quarantine(folder, survey);
      write_dropped(folder, survey, index, packed, drops);
      shards::write_manifest(folder, manifest);
    }
    write_passed_over(folder, survey);
    remove_unknown_shards(folder, manifest);
    survey.forget_the_rest();
    run::write_completion(folder, completion);
  }
  context.world.barrier();
  return {.completion = completion};
}

}  // namespace cskd::packing
