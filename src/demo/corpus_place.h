// The place of a corpus on disk: what may be replaced there, the folder it grows in, and the one rename that shows it.
//
// Note [All or nothing]
// A corpus grows in `<folder>.partial` and is renamed to `<folder>` when it is whole. The file `.cskd-unfinished` in it
// is made first and removed last: it tells a folder that a killed run left from one that somebody else gave that name,
// which is refused and never touched. --overwrite moves the old corpus to `.cskd-replaced` inside the partial folder,
// so that it comes along with the rename and is deleted where nobody's file can be. A killed run leaves
//   before the rename  <folder>.partial; the next run moves the old corpus back out of it and removes the rest
//   after the rename   the new corpus with `.cskd-unfinished`; the next run removes that and the old corpus
// Failure points: demo.rename, demo.replace (the old corpus is aside, the new one not yet in its place), demo.tidy.
#pragma once

#include <filesystem>

#include "demo/corpus.h"
#include "demo/corpus_list.h"

namespace cskd::demo {

struct CorpusPlace {
  std::filesystem::path folder;  // absolute, not a symbolic link
  std::filesystem::path partial;
};

// Follows a symbolic link, so that its target is filled and not the link replaced. Throws UsageError when it leads
// nowhere.
CorpusPlace find_place(const std::filesystem::path& folder);

// All of the following: one process, rank 0, at a time.

// Tidies what a killed run left. Throws UsageError when `<folder>.partial` is somebody else's.
void recover(const CorpusPlace& place);

// True when the folder already holds exactly this corpus. Throws UsageError when it holds anything that may not be
// replaced: another thing than a demo corpus, files beside one, or one without options.overwrite.
bool is_already_there(const CorpusPlace& place, const CorpusOptions& options, int threads);

// Makes the partial folder. REQUIRES: recover() was called
void begin(const CorpusPlace& place);

// Shows the finished corpus under its name. Throws Error; the old corpus is then in its place again, unless only the
// last fsync failed.
void publish(const CorpusPlace& place);

// Removes the partial folder of a run that failed, if there is one.
void discard(const CorpusPlace& place) noexcept;

}  // namespace cskd::demo
