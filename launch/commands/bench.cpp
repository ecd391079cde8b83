#include <bit>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <map>
#include <memory>
#include <string>

#include <ATen/Parallel.h>
#include <fmt/format.h>

#include "bench/checkpoint_bench.h"
#include "bench/engine_bench.h"
#include "bench/latency_bench.h"
#include "bench/loader_bench.h"
#include "launch/commands/commands.h"
#include "models/encoder.h"
#include "models/plugin/plugin.h"
#include "runtime/cores.h"
#include "runtime/error.h"
#include "runtime/freed_memory.h"

namespace cskd::launch {
namespace {

struct LoaderArguments {
  bench::LoaderOptions options;
  bool json = false;
};

template <typename Value>
CLI::Option* add_choice(CLI::App& command, const std::string& name, Value& value, const std::string& description,
                        const std::map<std::string, Value>& choices) {
  std::string names;  // CLI11 would print the values too, as characters
  for (const auto& [choice, unused] : choices) names += (names.empty() ? "" : ",") + choice;
  CLI::CheckedTransformer transformer(choices);
  transformer.description("{" + names + "}");
  return command.add_option(name, value, description)->transform(transformer);
}

void add_loader(CLI::App& bench, Program& program) {
  CLI::App& command = *bench.add_subcommand("loader", "Throughput of batches from image shards");
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
  command.add_option("--image-size", options.size, "Pixels a side")->check(CLI::Range(1, 4096))->capture_default_str();
  add_choice(command, "--view", options.view, "crop: random resized crop; whole; weak, strong: those of distillation",
             {{"crop", bench::LoaderView::kCrop},
              {"whole", bench::LoaderView::kWhole},
              {"weak", bench::LoaderView::kWeak},
              {"strong", bench::LoaderView::kStrong}})
      ->default_str("crop");
  command.add_option("--min-area", options.min_area, "Smallest share of the area that a random crop keeps")
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
  command.add_option("--epochs", options.epochs, "Times that every image is loaded; the first is a warm-up")
      ->check(CLI::Range(1, 1 << 20))
      ->capture_default_str();
  command.add_option("--seed", options.seed, "Seed of the order and the views")->capture_default_str();
  command.add_flag("--json", arguments->json, "Print JSON");
  program.run_alone(command, [arguments] {
    bench::LoaderOptions chosen = arguments->options;
    if (chosen.threads == 0) chosen.threads = static_cast<int>(runtime::usable_cores().size());
    const bench::LoaderFigures figures = bench::run_loader_bench(chosen);
    std::puts((arguments->json ? to_json(chosen, figures) : to_text(chosen, figures)).c_str());
    return figures.is_complete ? runtime::ExitCode::kDone : runtime::ExitCode::kFailure;
  });
}

// What both benches of ranks have in common.
struct WorldArguments {
  int threads = 1;
  bool json = false;
  bool return_memory = false;
};

void add_world_options(CLI::App& command, WorldArguments& arguments) {
  command.add_option("--threads", arguments.threads, "Threads of one operation in each rank")
      ->check(CLI::Range(1, 1024))
      ->capture_default_str();
  command.add_flag("--return-memory", arguments.return_memory,
                   "Give freed memory back to the system, as most programs do, to see what keeping it gains");
  command.add_flag("--json", arguments.json, "Print JSON");
}

template <typename Measure>
runtime::ExitCode measure(runtime::World& world, const WorldArguments& arguments, const Measure& run) {
  if (!arguments.return_memory) runtime::keep_freed_memory();
  at::set_num_threads(arguments.threads);
  const auto communicator = distributed::make_communicator(world, std::chrono::minutes(5));
  const std::string text = run(*communicator);
  if (world.rank() == 0) std::puts(text.c_str());
  return runtime::ExitCode::kDone;
}

void add_all_reduce(CLI::App& bench, Program& program) {
  CLI::App& command = *bench.add_subcommand("all-reduce", "Throughput of all-reduces between ranks");
  struct Arguments : WorldArguments {
    bench::AllReduceOptions options;
  };
  const auto arguments = std::make_shared<Arguments>();
  command.add_option("--numbers", arguments->options.numbers, "Float32 numbers of each case")
      ->check(CLI::Range(std::int64_t{1}, std::int64_t{1} << 36))
      ->capture_default_str();
  command.add_option("--repeats", arguments->options.repeats, "Repeats of each case")
      ->check(CLI::Range(1, 1'000'000))
      ->capture_default_str();
  add_choice(command, "--reduction", arguments->options.reduction, "sum: the fastest; tree: in a fixed order",
             {{"sum", distributed::Reduction::kSum}, {"tree", distributed::Reduction::kTreeSum}})
      ->default_str("sum");
  add_world_options(command, *arguments);
  program.run_in_world(command, [arguments](runtime::World& world) {
    return measure(world, *arguments, [&](distributed::Communicator& communicator) {
      if (arguments->options.reduction == distributed::Reduction::kTreeSum &&
          !std::has_single_bit(static_cast<unsigned>(world.size())))
        throw runtime::UsageError(fmt::format("--reduction tree needs 1, 2, 4, ... ranks, not {}", world.size()));
      const auto figures = bench::run_all_reduce_bench(arguments->options, communicator);
      return arguments->json ? to_json(arguments->options, figures, communicator)
                             : to_text(arguments->options, figures, communicator);
    });
  });
}

void add_checkpoint(CLI::App& bench, Program& program) {
  CLI::App& command = *bench.add_subcommand("checkpoint", "Time that training waits for checkpoints");
  struct Arguments {
    bench::CheckpointOptions options;
    bool json = false;
  };
  const auto arguments = std::make_shared<Arguments>();
  bench::CheckpointOptions& options = arguments->options;
  command.add_option("DIR", options.folder, "Folder on the disk that is measured")->required();
  command.add_option("--encoder", options.encoder, "Architecture whose state is written")->capture_default_str();
  command.add_option("--rounds", options.rounds, "Checkpoints that are measured")
      ->check(CLI::Range(1, 1'000'000))
      ->capture_default_str();
  command.add_option("--step", options.step_seconds, "Seconds of computation in place of a training step")
      ->check(CLI::Range(0.0, 1e6))
      ->capture_default_str();
  command.add_flag("--json", arguments->json, "Print JSON");
  program.run_alone(command, [arguments] {
    const bench::CheckpointFigures figures = bench::run_checkpoint_bench(arguments->options);
    std::puts((arguments->json ? to_json(arguments->options, figures) : to_text(arguments->options, figures)).c_str());
    return runtime::ExitCode::kDone;
  });
}

void add_latency(CLI::App& bench, Program& program) {
  CLI::App& command = *bench.add_subcommand("latency", "Time of an exported model for a photo, and for many");
  struct Arguments {
    bench::LatencyOptions options;
    bool json = false;
  };
  const auto arguments = std::make_shared<Arguments>();
  bench::LatencyOptions& options = arguments->options;
  command.add_option("MODEL", options.model, "Folder of an export, or its model.safetensors")->required();
  command.add_option("--photo", options.photo, "Photo whose reading, decoding and resizing is measured");
  command.add_option("--batch", options.batches, "Images at once")->check(CLI::Range(1, 4096))->capture_default_str();
  command.add_option("--threads", options.threads, "Threads")->check(CLI::Range(1, 1024))->capture_default_str();
  command.add_option("--repeats", options.repeats, "Times that each is measured")
      ->check(CLI::Range(1, 1'000'000))
      ->capture_default_str();
  command.add_flag("--json", arguments->json, "Print JSON");
  program.run_alone(command, [arguments] {
    const bench::LatencyFigures figures = bench::run_latency_bench(arguments->options);
    std::puts((arguments->json ? to_json(arguments->options, figures) : to_text(arguments->options, figures)).c_str());
    return runtime::ExitCode::kDone;
  });
}

void add_step(CLI::App& bench, Program& program) {
  CLI::App& command = *bench.add_subcommand("step", "Throughput of training steps on random images");
  struct Arguments : WorldArguments {
    bench::StepOptions options;
    std::string precision = "fp32";
    std::string memory_format = "channels_last";
  };
  const auto arguments = std::make_shared<Arguments>();
  bench::StepOptions& options = arguments->options;
  command
      .add_option("--encoder", options.encoder, "Architecture, as in encoders.NAME.architecture, or a plug-in (*.pt2)")
      ->capture_default_str();
  CLI::Option* const image_size = command.add_option("--image-size", options.image_size, "Pixels a side")
                                      ->check(CLI::Range(16, 4096))
                                      ->capture_default_str();
  command.add_option("--batch", options.batch, "Images of a micro-batch")
      ->check(CLI::Range(1, 1 << 20))
      ->capture_default_str();
  command.add_option("--micro-batches", options.micro_batches, "Micro-batches of each rank in a step")
      ->check(CLI::Range(1, 65'536))
      ->capture_default_str();
  command.add_option("--steps", options.steps, "Steps that are measured")
      ->check(CLI::Range(1, 1'000'000))
      ->capture_default_str();
  command.add_flag("--elastic", options.elastic, "As determinism = \"elastic\"");
  command.add_flag("--compress", options.compress, "As compress_gradients");
  command.add_flag("--bare", options.bare, "Without the gradient reducer, to see what it costs; one rank only");
  command.add_option("--precision", arguments->precision, "As compute.precision; auto measures first")
      ->check(CLI::IsMember({"fp32", "bf16", "auto"}))
      ->capture_default_str();
  command.add_option("--memory-format", arguments->memory_format, "As compute.memory_format; auto measures first")
      ->check(CLI::IsMember({"channels_last", "contiguous", "auto"}))
      ->capture_default_str();
  command
      .add_option("--weights", options.weights, "safetensors file to start from, to compare losses with other programs")
      ->check(CLI::ExistingFile);
  add_world_options(command, *arguments);
  program.run_in_world(command, [arguments, image_size](runtime::World& world) {
    bench::StepOptions chosen = arguments->options;
    chosen.encoder = models::encoder_named(chosen.encoder);
    if (models::find_plugin(chosen.encoder) != nullptr && image_size->count() == 0)
      chosen.image_size = models::encoder_shape(chosen.encoder).image_size;
    chosen.precision = models::precision_named(arguments->precision);
    chosen.memory_format = models::memory_format_named(arguments->memory_format);
    if (chosen.bare && (world.size() > 1 || chosen.elastic || chosen.compress))
      throw runtime::UsageError("--bare needs a single rank, and goes with neither --elastic nor --compress");
    if (chosen.elastic && (chosen.compress || !std::has_single_bit(static_cast<unsigned>(world.size()))))
      throw runtime::UsageError("--elastic needs 1, 2, 4, ... ranks, and does not go with --compress");
    return measure(world, *arguments, [&](distributed::Communicator& communicator) {
      const auto figures = bench::run_step_bench(chosen, communicator);
      return arguments->json ? to_json(chosen, figures, communicator) : to_text(chosen, figures, communicator);
    });
  });
}

}  // namespace

void add_bench(Program& program) {
  CLI::App& command = program.add_command("bench", "Measure the throughput of one part of cskd on this machine",
                                          "  cskd bench loader runs/demo\n"
                                          "  cskd bench loader runs/demo --work bytes --threads 1 --json\n"
                                          "  mpirun -n 2 cskd bench all-reduce\n"
                                          "  mpirun -n 2 cskd bench step --encoder mobilenetv3_small_100 --elastic\n"
                                          "  mpirun -n 2 cskd bench step --precision auto --memory-format auto\n"
                                          "  cskd bench checkpoint /scratch --encoder ViT-L-14\n"
                                          "  cskd bench latency runs/demo/export/student --photo a.jpg");
  command.require_subcommand(1);
  add_loader(command, program);
  add_all_reduce(command, program);
  add_step(command, program);
  add_checkpoint(command, program);
  add_latency(command, program);
}

}  // namespace cskd::launch
