#include "demo/corpus.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <exception>
#include <mutex>
#include <optional>
#include <set>
#include <sstream>
#include <thread>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "demo/caption_list.h"
#include "demo/corpus_list.h"
#include "demo/corpus_place.h"
#include "demo/corpus_plan.h"
#include "demo/rated_set.h"
#include "demo/tar_writer.h"
#include "runtime/atomic_file.h"
#include "runtime/cores.h"
#include "runtime/error.h"
#include "runtime/failure_point.h"
#include "runtime/free_space.h"
#include "runtime/stop_signal.h"

namespace cskd::demo {
namespace {

namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;
using runtime::Error;
using runtime::UsageError;

void check_options(const CorpusOptions& options) {
  if (options.images < kFewestImages || options.images > kMostImages) {
    throw UsageError(fmt::format("--images is {}, expected {} to {}", options.images, kFewestImages, kMostImages));
  }
  if (options.threads < 0 || options.threads > 1024) {
    throw UsageError(fmt::format("--threads is {}, expected 0 to 1024", options.threads));
  }
}

// Members of a tar as WebDataset samples: the image, and what is known of it.
std::string make_tar(const FilePlan& file, const CorpusPlan& plan, std::uint64_t seed) {
  TarWriter tar;
  for (const TarMember& member : file.members) {
    const SourcePlan& source = plan.sources[member.recipe.source];
    tar.add(member.name + ".jpg", make_file(member.recipe, source.style, seed));
    tar.add(member.name + ".json", nlohmann::json{{"source", source.name}, {"item", member.recipe.item}}.dump());
  }
  return tar.finish();
}

void write_plain(const fs::path& path, const std::string& bytes) {
  runtime::failure_point("demo.write", path.native());
  std::FILE* file = std::fopen(path.c_str(), "wbe");
  if (file == nullptr) runtime::throw_system_error(fmt::format("cannot create {}", path.native()), errno);
  const bool written = std::fwrite(bytes.data(), 1, bytes.size(), file) == bytes.size();
  const int error = errno;
  // A full disk may show itself only when the last buffer is written.
  if (std::fclose(file) != 0 || !written) {
    runtime::throw_system_error(fmt::format("cannot write {}", path.native()), written ? errno : error);
  }
}

// This rank's files: every world.size()-th of the plan, by `threads` threads.
class Rendering {
 public:
  Rendering(const CorpusPlan& plan, const fs::path& folder, std::uint64_t seed, const runtime::World& world)
      : plan_(plan),
        folder_(folder),
        seed_(seed),
        next_(static_cast<size_t>(world.rank())),
        stride_(static_cast<size_t>(world.size())) {}

  // Throws what the first failing thread threw.
  void run(int threads, const std::function<void(std::int64_t)>& progress) {
    at_work_ = threads;
    std::vector<std::jthread> pool;
    pool.reserve(static_cast<size_t>(threads));
    for (int t = 0; t < threads; ++t) pool.emplace_back([this] { work(); });
    while (at_work_ > 0) {
      std::this_thread::sleep_for(std::chrono::milliseconds(20));
      progress(images_done_);
    }
    pool.clear();
    progress(images_done_);
    if (failure_) std::rethrow_exception(failure_);
  }

  const std::vector<ListedFile>& files() const { return files_; }

 private:
  void work() {
    try {
      for (size_t i = next_.fetch_add(stride_); i < plan_.files.size() && !stopped_; i = next_.fetch_add(stride_)) {
        make(plan_.files[i]);
      }
    } catch (...) {
      const std::lock_guard lock(mutex_);
      if (!failure_) failure_ = std::current_exception();
      stopped_ = true;
    }
    --at_work_;
  }

  void make(const FilePlan& file) {
    if (const int signal = runtime::StopSignal::received()) throw Error(fmt::format("stopped by signal {}", signal));
    runtime::failure_point("demo.render", file.path);
    const std::string bytes = file.members.empty()
                                  ? make_file(file.recipe, plan_.sources[file.recipe.source].style, seed_)
                                  : make_tar(file, plan_, seed_);
    write_plain(folder_ / file.path, bytes);
    images_done_ += static_cast<std::int64_t>(std::max<size_t>(1, file.members.size()));
    const std::lock_guard lock(mutex_);
    files_.push_back({file.path, bytes.size(), xxh3_of(bytes)});
  }

  const CorpusPlan& plan_;
  const fs::path& folder_;
  std::uint64_t seed_;
  std::atomic<size_t> next_;
  size_t stride_;
  std::atomic<bool> stopped_{false};
  std::atomic<int> at_work_{0};
  std::atomic<std::int64_t> images_done_{0};
  std::mutex mutex_;
  std::vector<ListedFile> files_;
  std::exception_ptr failure_;
};

std::string to_lines(const std::vector<ListedFile>& files) {
  std::string text;
  for (const ListedFile& file : files) text += fmt::format("{} {} {}\n", file.size, file.xxh3, file.path);
  return text;
}

void add_lines(const std::string& text, std::vector<ListedFile>& files) {
  std::istringstream lines(text);
  ListedFile file;
  while (lines >> file.size >> file.xxh3 && lines.get() == ' ' && std::getline(lines, file.path)) files.push_back(file);
}

std::int64_t count_images(const CorpusPlan& plan) {
  std::int64_t count = 0;
  for (const FilePlan& file : plan.files) count += static_cast<std::int64_t>(std::max<size_t>(1, file.members.size()));
  return count;
}

void make_folders(const CorpusPlan& plan, const fs::path& folder) {
  std::set<fs::path> folders{folder / "truth", folder / "rated" / "aesthetics_image_lists"};
  for (const FilePlan& file : plan.files) folders.insert((folder / file.path).parent_path());
  for (const fs::path& each : folders) {
    std::error_code error;
    fs::create_directories(each, error);
    if (error) throw Error(fmt::format("cannot create {}: {}", each.native(), error.message()));
  }
}

// Rank 0: texts, list, rename. Returns the list.
CorpusList finish(const CorpusOptions& options, const CorpusPlan& plan, const CorpusPlace& place,
                  std::vector<ListedFile> files) {
  const RatedTexts texts = rated_texts(plan, options.seed);
  const auto add_text = [&](const char* path, const std::string& text) {
    write_plain(place.partial / path, text);
    files.push_back({path, text.size(), xxh3_of(text)});
  };
  add_text("rated/AVA.txt", texts.ratings);
  add_text("rated/tags.txt", texts.tags);
  add_text("rated/aesthetics_image_lists/generic_test.jpgl", texts.test_ids);
  add_text("rated/aesthetics_image_lists/generic_train.jpgl", texts.train_ids);
  add_text("truth/latent.csv", texts.latent);
  add_text("truth/captions.csv", caption_list(plan, options.seed));
  add_text("planted.json", planted_to_json(plan));
  std::sort(files.begin(), files.end(), [](const ListedFile& a, const ListedFile& b) { return a.path < b.path; });
  CorpusList list{options.images, options.seed, kGeneratorVersion, std::move(files)};
  runtime::failure_point("demo.list", (place.partial / "corpus.json").native());
  runtime::write_file_atomically(place.partial / "corpus.json", to_json(list, plan));
  publish(place);
  return list;
}

CorpusSummary summarise(const CorpusList& list, const CorpusPlan& plan) {
  CorpusSummary summary;
  for (const SourcePlan& source : plan.sources) summary.sources.push_back({source.name, source.kind, source.images, 0});
  for (const ListedFile& file : list.files) {
    summary.bytes += file.size;
    for (CorpusSummary::Source& source : summary.sources) {
      if (file.path.starts_with(source.name + "/")) source.bytes += file.size;
    }
  }
  summary.planted = static_cast<std::int64_t>(plan.planted.size());
  return summary;
}

// Runs `step` on this rank; when any rank's throws, all throw: that rank its own error, the others one that names it.
void together(runtime::World& world, const std::function<void()>& step) {
  std::exception_ptr failure;
  try {
    step();
  } catch (...) {
    failure = std::current_exception();
  }
  const std::vector<std::string> failed = world.all_gather(failure ? "failed" : "");
  if (failure) std::rethrow_exception(failure);
  const auto first = std::find(failed.begin(), failed.end(), "failed");
  if (first != failed.end()) throw runtime::EchoError(static_cast<int>(first - failed.begin()));
}

}  // namespace

CorpusSummary write_corpus(const CorpusOptions& options, runtime::World& world,
                           const std::function<void(std::int64_t, std::int64_t)>& progress) {
  const Clock::time_point start = Clock::now();
  const int threads = options.threads > 0 ? options.threads : static_cast<int>(runtime::usable_cores().size());
  check_options(options);
  const CorpusPlan plan = plan_corpus(options.images);

  CorpusPlace place;
  std::string there;
  together(world, [&] {
    if (world.rank() != 0) return;
    place = find_place(options.folder);
    recover(place);
    if (is_already_there(place, options, threads)) there = "yes";
  });
  place = find_place(world.broadcast(place.folder.native()));
  if (!world.broadcast(there).empty()) {
    CorpusSummary summary = summarise(read_corpus_list(place.folder), plan);
    summary.already_there = true;
    summary.seconds = std::chrono::duration<double>(Clock::now() - start).count();
    return summary;
  }

  std::optional<CorpusList> list;
  try {
    together(world, [&] {
      if (world.rank() != 0) return;
      constexpr std::uint64_t kBytesAnImage = 40'000;
      runtime::require_free_space(place.folder, static_cast<std::uint64_t>(options.images) * kBytesAnImage,
                                  "the demo corpus");
      begin(place);
      make_folders(plan, place.partial);
    });
    Rendering rendering(plan, place.partial, options.seed, world);
    const std::int64_t total = count_images(plan) / world.size();
    together(world, [&] {
      rendering.run(threads, [&](std::int64_t done) {
        if (world.rank() == 0) progress(std::min(done, total) * world.size(), total * world.size());
      });
    });
    const std::vector<std::string> lines = world.all_gather(to_lines(rendering.files()));
    together(world, [&] {
      if (world.rank() != 0) return;
      std::vector<ListedFile> files;
      for (const std::string& each : lines) add_lines(each, files);
      list = finish(options, plan, place, std::move(files));
    });
  } catch (...) {
    // Every rank throws or none, and none writes any more.
    if (world.rank() == 0) discard(place);
    throw;
  }
  CorpusSummary summary = summarise(list ? *list : CorpusList{}, plan);
  summary.seconds = std::chrono::duration<double>(Clock::now() - start).count();
  return summary;
}

}  // namespace cskd::demo
