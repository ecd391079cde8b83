#include "demo/corpus_place.h"

#include <cerrno>
#include <fstream>
#include <unordered_set>

#include <fmt/format.h>
#include <sys/stat.h>

#include "runtime/atomic_file.h"
#include "runtime/error.h"
#include "runtime/failure_point.h"

namespace cskd::demo {
namespace {

namespace fs = std::filesystem;
using runtime::Error;
using runtime::UsageError;

constexpr const char* kMark = ".cskd-unfinished";
constexpr const char* kReplaced = ".cskd-replaced";

void rename_or_throw(const fs::path& from, const fs::path& to) {
  std::error_code error;
  fs::rename(from, to, error);
  if (error) throw Error(fmt::format("cannot rename {} to {}: {}", from.native(), to.native(), error.message()));
}

void remove_or_throw(const fs::path& path) {
  std::error_code error;
  fs::remove_all(path, error);
  if (error) throw Error(fmt::format("cannot remove {}: {}", path.native(), error.message()));
}

bool has_mark(const fs::path& folder) {
  std::error_code error;
  return fs::exists(folder / kMark, error);
}

bool is_empty_folder(const fs::path& folder) {
  std::error_code error;
  return fs::is_directory(folder, error) && fs::is_empty(folder, error) && !error;
}

// The mark goes last, so that a kill in the middle leaves a folder that is still known as ours.
void remove_marked(const fs::path& folder) {
  std::error_code error;
  for (const fs::directory_entry& entry : fs::directory_iterator(folder, error)) {
    if (entry.path().filename() != kMark) remove_or_throw(entry.path());
  }
  remove_or_throw(folder);
}

// The first file in the folder, by name, that the list does not know; empty when there is none.
std::string first_stranger(const CorpusList& list, const fs::path& folder) {
  std::unordered_set<std::string> known{"corpus.json"};
  for (const ListedFile& file : list.files) known.insert(file.path);
  std::string first;
  std::error_code error;
  for (fs::recursive_directory_iterator entry(folder, error), end; !error && entry != end; entry.increment(error)) {
    if (fs::is_directory(entry->symlink_status())) continue;
    std::string path = entry->path().lexically_relative(folder).native();
    if (!known.contains(path) && (first.empty() || path < first)) first = std::move(path);
  }
  if (error) throw Error(fmt::format("cannot read {}: {}", folder.native(), error.message()));
  return first;
}

bool is_mount_point(const fs::path& folder) {
  struct stat own {};
  struct stat parent {};
  return ::stat(folder.c_str(), &own) == 0 && ::stat(folder.parent_path().c_str(), &parent) == 0 &&
         own.st_dev != parent.st_dev;
}

void refuse_mount_point(const fs::path& folder) {
  if (!is_mount_point(folder)) return;
  throw UsageError(fmt::format("{} is a mount point, which no finished folder can be renamed to; choose a folder in it",
                               folder.native()));
}

}  // namespace

CorpusPlace find_place(const fs::path& folder) {
  fs::path path = fs::absolute(folder).lexically_normal();
  if (!path.has_filename()) path = path.parent_path();
  std::error_code error;
  if (fs::is_symlink(fs::symlink_status(path, error))) {
    const fs::path target = fs::canonical(path, error);
    if (error) {
      throw UsageError(
          fmt::format("{} is a symbolic link to a place that is not there; choose another folder", path.native()));
    }
    path = target;
  }
  fs::path partial = path;
  partial += ".partial";
  return {path, partial};
}

void recover(const CorpusPlace& place) {
  std::error_code error;
  if (has_mark(place.folder) && fs::exists(place.folder / "corpus.json", error)) {
    remove_or_throw(place.folder / kReplaced);
    remove_or_throw(place.folder / kMark);
  }
  if (!fs::exists(fs::symlink_status(place.partial, error))) return;
  if (!has_mark(place.partial) && !is_empty_folder(place.partial)) {
    throw UsageError(
        fmt::format("{} is in the way and not what an unfinished run left; move it away, or choose another folder",
                    place.partial.native()));
  }
  const fs::path replaced = place.partial / kReplaced;
  const bool is_vacant = !fs::exists(place.folder, error) || is_empty_folder(place.folder);
  if (is_vacant && fs::exists(replaced, error)) rename_or_throw(replaced, place.folder);
  remove_marked(place.partial);
}

bool is_already_there(const CorpusPlace& place, const CorpusOptions& options, int threads) {
  const fs::path& folder = place.folder;
  std::error_code error;
  const fs::file_status status = fs::status(folder, error);
  if (!fs::exists(status)) return false;
  if (!fs::is_directory(status)) {
    throw UsageError(fmt::format("{} is there and is no folder; choose another place", folder.native()));
  }
  if (is_empty_folder(folder)) {
    refuse_mount_point(folder);
    return false;
  }
  CorpusList list;
  try {
    list = read_corpus_list(folder);
  } catch (const Error& problem) {
    throw UsageError(fmt::format("{} is not empty and holds no demo corpus ({}); choose another folder",
                                 folder.native(), runtime::messages(problem).front()));
  }
  std::string difference;
  if (list.images != options.images || list.seed != options.seed || list.generator_version != kGeneratorVersion) {
    difference = fmt::format("--images {} --seed {} of generator {}", list.images, list.seed, list.generator_version);
  } else {
    const std::string path = first_difference(list, folder, threads);
    if (path.empty()) return true;
    difference = fmt::format("{} is not what it was", path);
  }
  if (!options.overwrite) {
    throw UsageError(
        fmt::format("{} holds another demo corpus ({}); choose another folder, or replace it with --overwrite",
                    folder.native(), difference));
  }
  if (const std::string stranger = first_stranger(list, folder); !stranger.empty()) {
    throw UsageError(
        fmt::format("{} holds {}, which is not of the demo corpus there; move it away, or choose another folder",
                    folder.native(), stranger));
  }
  refuse_mount_point(folder);
  return false;
}

void begin(const CorpusPlace& place) {
  std::error_code error;
  fs::create_directories(place.partial, error);
  if (error) throw Error(fmt::format("cannot create {}: {}", place.partial.native(), error.message()));
  // Empty, so that it is there in one step: no kill can leave half a mark.
  const fs::path mark = place.partial / kMark;
  if (!std::ofstream(mark)) runtime::throw_system_error(fmt::format("cannot create {}", mark.native()), errno);
}

void publish(const CorpusPlace& place) {
  runtime::failure_point("demo.rename", place.folder.native());
  const fs::path replaced = place.partial / kReplaced;
  std::error_code ignored;
  // An empty folder is replaced by the rename itself.
  const bool replaces = fs::exists(place.folder, ignored) && !is_empty_folder(place.folder);
  if (replaces) rename_or_throw(place.folder, replaced);
  try {
    runtime::failure_point("demo.replace", place.folder.native());
    rename_or_throw(place.partial, place.folder);
  } catch (...) {
    if (replaces) fs::rename(replaced, place.folder, ignored);
    throw;
  }
  runtime::sync_folder(place.folder.parent_path());
  runtime::failure_point("demo.tidy", place.folder.native());
  // The corpus is whole: what cannot be removed now is removed by the next run.
  fs::remove_all(place.folder / kReplaced, ignored);
  if (!ignored) fs::remove(place.folder / kMark, ignored);
}

void discard(const CorpusPlace& place) noexcept {
  try {
    // An old corpus that could not be moved back is left for recover().
    if (has_mark(place.partial) && !fs::exists(place.partial / kReplaced)) remove_marked(place.partial);
    // begin() may have failed before the mark was there.
    if (is_empty_folder(place.partial)) fs::remove(place.partial);
  } catch (...) {  // the failure that led here is the one to report
  }
}

}  // namespace cskd::demo
