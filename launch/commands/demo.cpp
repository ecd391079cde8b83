#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <memory>
#include <optional>

#include <fmt/format.h>

#include "demo/corpus.h"
#include "launch/commands/commands.h"
#include "report/progress.h"
#include "runtime/free_space.h"
#include "runtime/stop_signal.h"

namespace cskd::launch {
namespace {

void print_summary(const demo::CorpusOptions& options, const demo::CorpusSummary& summary) {
  fmt::print("{} {}\n\n", options.folder.native(),
             summary.already_there ? "is already there, whole and unchanged" : "is ready");
  fmt::print("  {:<10} {:<12} {:>9} {:>12}\n", "source", "kind", "images", "size");
  for (const demo::CorpusSummary::Source& source : summary.sources) {
    fmt::print("  {:<10} {:<12} {:>9} {:>12}\n", source.name, source.kind, source.images,
               runtime::format_bytes(source.bytes));
  }
  fmt::print("\n  {} in all, {} planted duplicates, leaks and faults (planted.json)\n",
             runtime::format_bytes(summary.bytes), summary.planted);
  if (!summary.already_there) {
    fmt::print("  {:.1f} s, {:.0f} images/s\n", summary.seconds, static_cast<double>(options.images) / summary.seconds);
  }
}

// CLI11 wraps a negative number into an unsigned one.
std::string is_not_negative(const std::string& text) {
  return text.starts_with('-') ? fmt::format("is {}, expected a whole number from 0", text) : "";
}

}  // namespace

void add_demo(Program& program) {
  CLI::App& command =
      program.add_command("demo", "Write the demo corpus: rendered photos in five sources, one of them rated",
                          "  cskd demo runs/demo/corpus\n"
                          "  cskd demo /data/demo --images 100000 --seed 7\n"
                          "  mpirun -n 4 cskd demo /data/demo --images 100000");
  const auto options = std::make_shared<demo::CorpusOptions>();
  command.add_option("DIR", options->folder, "Folder to create")->required();
  command.add_option("--images", options->images, "Images in all; a fifth of them rated")->capture_default_str();
  command.add_option("--seed", options->seed, "The same seed gives the same bytes")
      ->check(is_not_negative)
      ->capture_default_str();
  command.add_option("--threads", options->threads, "Threads of each rank; 0: its cores")->capture_default_str();
  command.add_flag("--overwrite", options->overwrite, "Replace a demo corpus that is already in DIR");
  program.run_in_world(command, [options](runtime::World& world) {
    const runtime::StopSignal stop;
    // Ranks wait for the slowest one; no machine renders an image in more than a second.
    world.set_timeout(std::max<std::chrono::seconds>(std::chrono::minutes(10), std::chrono::seconds(options->images)));
    std::optional<report::Progress> progress;
    if (world.rank() == 0) progress.emplace("rendering", "images");
    const demo::CorpusSummary summary = demo::write_corpus(
        *options, world, [&](std::int64_t done, std::int64_t total) { progress->update(done, total); });
    progress.reset();
    if (world.rank() == 0) print_summary(*options, summary);
    return runtime::ExitCode::kDone;
  });
}

}  // namespace cskd::launch
