#include "training/resume.h"

#include <map>
#include <string>

#include <ATen/ATen.h>
#include <c10/core/GradMode.h>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <spdlog/spdlog.h>

#include "runtime/error.h"
#include "training/checkpoint.h"

namespace cskd::training {
namespace {

void restore(const NamedTensors& live, const std::map<std::string, at::Tensor>& stored, const char* file) {
  const c10::AutoGradMode no_gradients(false);
  for (const auto& [name, tensor] : live) {
    const auto found = stored.find(name);
    if (found == stored.end() || found->second.sizes() != tensor.sizes()) {
      throw runtime::DataError(
          fmt::format("{} of the checkpoint has no tensor '{}' of the shape [{}]: it is of another "
                      "model or optimiser",
                      file, name, fmt::join(tensor.sizes(), ", ")));
    }
    tensor.detach().copy_(found->second);
  }
}

std::string find(const std::filesystem::path& folder, const TrainerOptions& options) {
  const std::optional<std::uint64_t> newest = newest_checkpoint(folder);
  if (newest && !options.resume) {
    throw runtime::UsageError(fmt::format(
        "{} holds checkpoints of an earlier run: resume it (--resume auto), or remove the folder", folder.native()));
  }
  remove_unfinished_checkpoints(folder);
  if (newest) set_aside_later_checkpoints(folder, *newest);
  return newest ? std::to_string(*newest) : "";
}

}  // namespace

std::optional<State> resume(const std::filesystem::path& folder, const TrainerOptions& options, const Task& task,
                            const optim::Optimizer& optimizer, runtime::World& world) {
  const std::string found = world.broadcast(world.rank() == 0 ? find(folder, options) : "");
  if (found.empty()) return std::nullopt;
  const LoadedCheckpoint loaded = read_checkpoint(folder, std::stoull(found));
  const runtime::Inputs before({loaded.state.inputs().begin(), loaded.state.inputs().end()});
  if (const std::string differing = runtime::differences(before, options.inputs, options.allowed_changes);
      !differing.empty()) {
    throw runtime::UsageError(
        fmt::format("{} was made with other settings or data: {}; restore them, choose another run.folder, remove the "
                    "folder, or go on with the new ones by --allow-change NAME",
                    folder.native(), differing));
  }
  if (loaded.state.step() > options.training.steps()) {
    throw runtime::UsageError(
        fmt::format("{} is after step {}, but {}.training.steps is {}: raise it, or remove the folder", folder.native(),
                    loaded.state.step(), task.name, options.training.steps()));
  }
  restore(task.model.state(), loaded.model, "model.safetensors");
  restore(task.model.average(), loaded.average, "ema.safetensors");
  restore(optimizer.state(), loaded.optimizer, "optimizer.safetensors");
  restore(stored_memory(task.objective), loaded.optimizer, "optimizer.safetensors");
  if (world.rank() == 0) spdlog::info("{} goes on after step {}", task.name, loaded.state.step());
  return loaded.state;
}

}  // namespace cskd::training
