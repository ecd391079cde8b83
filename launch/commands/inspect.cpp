#include <algorithm>
#include <chrono>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include <fmt/format.h>

#include "inspect/caches.h"
#include "inspect/checkpoints.h"
#include "inspect/corpus.h"
#include "inspect/weights.h"
#include "launch/commands/commands.h"
#include "launch/config_arguments.h"

namespace cskd::launch {
namespace {

struct InspectArguments {
  std::string path;
  std::string sheet;
  bool verify = false;
  bool json = false;
};

runtime::ExitCode inspect_corpus(const InspectArguments& arguments, runtime::World& world) {
  // Rank 0 may read long after the others are done.
  world.set_timeout(std::max<std::chrono::milliseconds>(world.timeout(), std::chrono::hours(1)));
  inspect::Inspection inspection{.collection = inspect::find_collection(arguments.path)};
  if (arguments.verify) inspection.verification = inspect::verify(inspection.collection, world);
  if (world.rank() == 0) {
    const inspect::Collection& collection = inspection.collection;
    inspection.summary = inspect::summarise(collection.folder, collection.manifest);
    if (!arguments.sheet.empty()) {
      inspection.sheet = inspect::write_contact_sheet(arguments.sheet, collection.folder, collection.manifest);
    }
    inspect::collect_faults(inspection);
    fmt::print("{}", arguments.json ? to_json(inspection, arguments.sheet) : to_text(inspection, arguments.sheet));
    std::fflush(stdout);
  }
  return world.any(!inspection.faults.empty()) ? runtime::ExitCode::kData : runtime::ExitCode::kDone;
}

}  // namespace

void add_inspect(Program& program) {
  CLI::App& command = program.add_command("inspect", "Show and check shards, caches, checkpoints, weights and plug-ins",
                                          "  cskd inspect runs/demo\n"
                                          "  cskd inspect runs/demo --sheet sheet.png\n"
                                          "  cskd inspect runs/demo/align/student\n"
                                          "  cskd inspect runs/demo/align/student/checkpoints/step-000000200\n"
                                          "  cskd inspect runs/demo/shards/coast-unlabelled-00000.h5 --json\n"
                                          "  cskd inspect runs/demo/cache/clip --verify\n"
                                          "  cskd inspect ViT-B-16.safetensors\n"
                                          "  cskd inspect encoder.pt2\n"
                                          "  mpirun -n 4 cskd inspect runs/demo --verify");
  const auto arguments = std::make_shared<InspectArguments>();
  command
      .add_option("PATH", arguments->path,
                  "Run folder or configuration of a run, folder of shards, manifest, one image shard (*.h5), a feature "
                  "cache or the folder of a tower's caches, folder of a training, a checkpoint, or a weight file "
                  "(*.safetensors, *.safetensors.index.json), a plug-in (*.pt2)")
      ->required();
  command.add_option("--sheet", arguments->sheet, "Write a PNG with up to ten pictures of each source and split");
  command.add_flag(
      "--verify", arguments->verify,
      "Check files, images, labels and features against their checksums, and compute a sample of a run's features "
      "again; of weights, every number");
  command.add_flag("--json", arguments->json, "Print JSON");
  const auto action = [arguments](runtime::World& world) {
    if (inspect::is_weight_file(arguments->path)) {
      if (world.rank() != 0) return runtime::ExitCode::kDone;
      const inspect::WeightFileReport report =
          inspect::report_on_weights(arguments->path, arguments->verify, arguments->json);
      fmt::print("{}", report.text);
      std::fflush(stdout);
      return report.is_finite ? runtime::ExitCode::kDone : runtime::ExitCode::kData;
    }
    if (const auto caches = inspect::find_caches(arguments->path); !caches.empty()) {
      const inspect::CacheReport report = inspect::report_on_caches(caches, arguments->verify, arguments->json, world);
      fmt::print("{}", report.text);
      std::fflush(stdout);
      return report.are_whole ? runtime::ExitCode::kDone : runtime::ExitCode::kData;
    }
    arguments->path = run_folder_of(arguments->path);
    const std::vector<std::filesystem::path> checkpoints = inspect::find_checkpoints(arguments->path);
    if (checkpoints.empty()) return inspect_corpus(*arguments, world);
    if (world.rank() != 0) return runtime::ExitCode::kDone;
    const inspect::CheckpointReport report = inspect::report_on(checkpoints, arguments->json);
    fmt::print("{}", report.text);
    std::fflush(stdout);
    return report.are_whole ? runtime::ExitCode::kDone : runtime::ExitCode::kData;
  };
  program.run_in_world(command, action, /*may_be_alone=*/true);
}

}  // namespace cskd::launch
