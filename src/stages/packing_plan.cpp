#include "stages/packing_plan.h"

#include <algorithm>
#include <array>
#include <unordered_map>

#include <fmt/format.h>

namespace cskd::stages {
namespace {

using shards::Split;

struct Place {
  std::uint32_t source = 0;
  std::uint64_t entry = 0;
};

// Test and validation first: what they hold must not be anywhere else.
constexpr std::array<Split, 4> kPrecedence{Split::kTest, Split::kValidation, Split::kTrain, Split::kUnlabelled};

bool is_held_out(Split split) { return split == Split::kTest || split == Split::kValidation; }

shards::ShardRow row_of(const CheckedSource& source, std::uint64_t entry) {
  const shards::Entry& listed = source.listing.entries[entry];
  const CheckedImage& image = source.images[entry];
  shards::ShardRow row{.key = listed.key,
                       .size = listed.size,
                       .hash = image.hash,
                       .phash = image.phash,
                       .width = image.width,
                       .height = image.height,
                       .format = image.format,
                       .orientation = image.orientation};
  if (listed.label >= 0) row.label = source.listing.labels[static_cast<size_t>(listed.label)];
  return row;
}

void cut_into_shards(const std::vector<CheckedSource>& sources, std::uint32_t source_index, Split split,
                     const std::vector<std::uint64_t>& kept, const PackingLimits& limits, PackingPlan& plan) {
  const CheckedSource& source = sources[source_index];
  std::uint64_t bytes = 0;
  int number = 0;
  for (const std::uint64_t entry : kept) {
    const std::uint64_t size = source.listing.entries[entry].size;
    if (number == 0 || plan.entries.back().size() >= limits.samples || bytes + size > limits.bytes) {
      const bool labelled = source.listing.entries[entry].label >= 0;
      plan.shards.push_back({.file = fmt::format("{}-{}-{:05}.h5", source.name, to_string(split), number++),
                             .source = source_index,
                             .split = split,
                             .bins = labelled ? static_cast<std::uint32_t>(source.listing.bin_centres.size()) : 0,
                             .source_name = source.name});
      plan.entries.emplace_back();
      bytes = 0;
    }
    plan.shards.back().rows.push_back(row_of(source, entry));
    plan.entries.back().push_back(entry);
    bytes += size;
  }
}

}  // namespace

PackingPlan plan_packing(const std::vector<CheckedSource>& sources, const PackingLimits& limits) {
  PackingPlan plan;
  std::unordered_map<runtime::ContentHash, Place> first;
  std::vector<std::array<std::vector<std::uint64_t>, 4>> kept(sources.size());  // [source][split]
  for (const Split split : kPrecedence) {
    for (std::uint32_t s = 0; s < sources.size(); ++s) {
      const CheckedSource& source = sources[s];
      for (std::uint64_t e = 0; e < source.images.size(); ++e) {
        const shards::Entry& entry = source.listing.entries[e];
        if (entry.split != split || !source.images[e].fault.empty()) continue;
        const auto [found, is_new] = first.try_emplace(source.images[e].hash, Place{s, e});
        if (is_new) {
          kept[s][static_cast<size_t>(split)].push_back(e);
          continue;
        }
        const CheckedSource& other = sources[found->second.source];
        const shards::Entry& same = other.listing.entries[found->second.entry];
        const bool leaks = is_held_out(same.split) && !is_held_out(split);
        (leaks ? plan.leaked : plan.duplicates)
            .push_back(
                {s, entry.key,
                 fmt::format("equals the {} picture '{}' of '{}'", to_string(same.split), same.key, other.name)});
      }
    }
  }
  for (std::uint32_t s = 0; s < sources.size(); ++s) {
    const CheckedSource& source = sources[s];
    for (const shards::Fault& fault : source.listing.faults) plan.quarantined.push_back({s, fault.key, fault.reason});
    for (std::uint64_t e = 0; e < source.images.size(); ++e) {
      if (!source.images[e].fault.empty()) {
        plan.quarantined.push_back({s, source.listing.entries[e].key, source.images[e].fault});
      }
    }
    for (const Split split : kPrecedence) {
      std::vector<std::uint64_t>& entries = kept[s][static_cast<size_t>(split)];
      std::sort(entries.begin(), entries.end(),
                [&](std::uint64_t a, std::uint64_t b) { return source.images[a].hash < source.images[b].hash; });
      cut_into_shards(sources, s, split, entries, limits, plan);
    }
  }
  return plan;
}

}  // namespace cskd::stages
