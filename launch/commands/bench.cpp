#include <cstdio>
#include <map>
#include <memory>
#include <string>

#include "bench/loader_bench.h"
#include "launch/commands/commands.h"
#include "runtime/cores.h"

namespace cskd::launch {
namespace {

struct LoaderArguments {
  bench::LoaderOptions options;
  bool json = false;
};

template <typename Value>
CLI::Option* add_choice(CLI::App& command, const std::string& name, Value& value, const std::string& description,
                        const std::map<std::string, Value>& choices) {
  return command.add_option(name, value, description)->transform(CLI::CheckedTransformer(choices));
}

void add_loader(CLI::App& bench, Program& program) {
  CLI::App& command = *bench.add_subcommand("loader", "How fast batches come out of image shards");
  const auto arguments = std::make_shared<LoaderArguments>();
  bench::LoaderOptions& options = arguments->options;
  options.threads = 0;
  command.add_option("DIR", options.folder, "Run folder, or folder of a manifest")->required();
  command.add_option("--threads", options.threads, "Loader threads; 0: as many as there are cores")
      ->check(CLI::Range(0, 1024))
      ->capture_default_str();
  command.add_option("--batch", options.batch, "Images of a batch")
      ->check(CLI::Range(1, 1 << 20))
      ->capture_default_str();
  command.add_option("--size", options.size, "Pixels a side")->check(CLI::Range(1, 4096))->capture_default_str();
  add_choice(command, "--view", options.view, "crop: random resized crop; whole; weak, strong: those of distillation",
             {{"crop", bench::LoaderView::kCrop},
              {"whole", bench::LoaderView::kWhole},
              {"weak", bench::LoaderView::kWeak},
              {"strong", bench::LoaderView::kStrong}})
      ->default_str("crop");
  command.add_option("--min-area", options.min_area, "Least share of the area that a random crop keeps")
      ->check(CLI::Range(0.001, 1.0))
      ->capture_default_str();
  add_choice(command, "--resize", options.resize, "As data.resize of a configuration",
             {{"exact", data::ResizeMode::kExact}, {"fast", data::ResizeMode::kFast}})
      ->default_str("exact");
  add_choice(command, "--work", options.work, "views: everything; bytes: no decoding; order: not even reading",
             {{"views", bench::LoaderWork::kViews},
              {"bytes", bench::LoaderWork::kBytes},
              {"order", bench::LoaderWork::kOrder}})
      ->default_str("views");
  command.add_option("--epochs", options.epochs, "Times that every image is loaded; the first does not count")
      ->check(CLI::Range(1, 1 << 20))
      ->capture_default_str();
  command.add_option("--seed", options.seed, "Of order and views")->capture_default_str();
  command.add_flag("--json", arguments->json, "Print JSON");
  program.run_alone(command, [arguments] {
    bench::LoaderOptions chosen = arguments->options;
    if (chosen.threads == 0) chosen.threads = static_cast<int>(runtime::usable_cores().size());
    const bench::LoaderFigures figures = bench::run_loader_bench(chosen);
    std::puts((arguments->json ? to_json(chosen, figures) : to_text(chosen, figures)).c_str());
    return figures.is_complete ? runtime::ExitCode::kDone : runtime::ExitCode::kFailure;
  });
}

}  // namespace

void add_bench(Program& program) {
  CLI::App& command = program.add_command("bench", "Measure how fast a part of cskd is here",
                                          "  cskd bench loader runs/demo\n"
                                          "  cskd bench loader runs/demo --work bytes --threads 1 --json");
  command.require_subcommand(1);
  add_loader(command, program);
}

}  // namespace cskd::launch
