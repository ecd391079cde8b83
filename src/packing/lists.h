// The lists of what packing left out, for people: quarantine.jsonl, dropped.jsonl and passed_over.jsonl.
#pragma once

#include <filesystem>
#include <optional>

#include "packing/drop_list.h"
#include "packing/sample_index.h"
#include "packing/survey.h"
#include "shards/manifest.h"

namespace cskd::packing {

constexpr const char* kQuarantineFile = "quarantine.jsonl";
constexpr const char* kDroppedFile = "dropped.jsonl";
constexpr const char* kPassedOverFile = "passed_over.jsonl";

// A line for each faulty picture: source, key, what ("quarantined"), reason. Atomic.
void write_quarantine(const std::filesystem::path& folder, const Survey& survey);

// A line for each file that is no picture: source, key, what ("passed_over"), reason (".heic", "link in an archive").
// Of one kind at most 10,000 of a source are named, divided among its archives, and at least ten of each: what follows
// then is one line with the archive as its key and the number in its reason. Atomic.
void write_passed_over(const std::filesystem::path& folder, const Survey& survey);

// A line for each picture of the sources that is lost and not packed already: source, key, what ("duplicate",
// "near_duplicate", "leaked", "nearly_leaked"), reason (which picture it equals). `packed`: the corpus before, whose
// rows come first in the index. Atomic.
void write_dropped(const std::filesystem::path& folder, const Survey& survey, const SampleIndex& index,
                   const std::optional<shards::Manifest>& packed, const DropList& drops);

}  // namespace cskd::packing
