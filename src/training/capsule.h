// A training step that went wrong, kept in <stage>/capsules so that it can be computed again (replay.h):
//
//   step-000000037/capsule.json        the step, its figures, and each micro-batch: rank, loss, figures, pictures
//                  config.toml         the configuration as the run understood it
//                  before/step-...036/ a checkpoint of the moment before it (checkpoint.h)
//
// capsule.json is written last. Numbers are text that reads back to the same bits; what is not finite is "nan" or
// "inf".
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "data/sampler.h"
#include "distributed/communicator.h"
#include "models/compute_settings.h"
#include "runtime/world.h"
#include "training/checkpoint.h"
#include "training/task.h"

namespace cskd::training {

// What a run computes with, for the capsules of its trainings.
struct CapsuleOrigin {
  std::string configuration;                             // TOML
  std::map<std::string, std::filesystem::path> results;  // those of stages that do not lie in the run folder
  models::ComputeSettings settings;
};

struct Capsule {
  struct MicroBatch {
    std::uint64_t number = 0;
    int rank = 0;
    std::string loss;
    std::vector<std::pair<std::string, std::string>> figures;
    std::string pictures;
  };

  std::string stage;
  std::string reason;
  std::uint64_t step = 0;  // that went wrong, counted from 1
  std::string loss;        // mean of the micro-batches
  std::string gradient_norm;
  int threads = 1;                 // of each rank
  std::vector<std::string> hosts;  // of each rank
  std::string communicator;
  CapsuleOrigin origin;
  std::vector<MicroBatch> micro_batches;  // in their order
};

// A capsule's folder as a whole. Throws DataError that names what is missing or damaged.
Capsule read_capsule(const std::filesystem::path& folder);
std::filesystem::path checkpoints_of_capsule(const std::filesystem::path& folder);

// Text of a figure: shortest that reads back to the same float.
std::string exact_text(float value);

// Logs which of this rank's micro-batches are not finite, and their pictures. `step` counts from 1.
void warn_of_what_is_not_finite(const std::string& stage, std::uint64_t step, const data::BatchLayout& layout,
                                const std::vector<MicroBatchResult>& own);

// Decides which steps are kept, and keeps them.
class CapsuleKeeper {
 public:
  // Writes into `folder`/capsules. Arguments must outlive it.
  CapsuleKeeper(const std::filesystem::path& folder, std::string stage, const CapsuleOrigin& origin,
                const data::BatchLayout& layout, runtime::World& world, distributed::Communicator& communicator);

  // Whether a step with this loss and gradient is to be kept: why. It is not finite, or its loss is kDiverging times
  // what was usual. At most kMostCapsules of a training are kept. Depends on what is equal on all ranks.
  std::optional<std::string> reason(double loss, double gradient_norm);

  // The step `step` (counted from 1) of this rank's micro-batches. `before` gives, on rank 0, the checkpoint of the
  // moment before it. Collective. Where it cannot be written, that is logged.
  void keep(const std::string& reason, std::uint64_t step, double loss, double gradient_norm,
            const std::vector<MicroBatchResult>& own, const std::function<CheckpointContents()>& before);

 private:
  const std::filesystem::path folder_;
  const std::string stage_;
  const CapsuleOrigin& origin_;
  const data::BatchLayout& layout_;
  runtime::World& world_;
  distributed::Communicator& communicator_;
  int kept_ = 0;
  std::uint64_t usual_steps_ = 0;  // that usual_ is of
  double usual_ = 0;               // loss
};

inline constexpr int kMostCapsules = 3;
inline constexpr double kDiverging = 10;
inline constexpr std::uint64_t kStepsUntilUsual = 50;

}  // namespace cskd::training
