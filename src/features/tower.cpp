#include "features/tower.h"

#include <filesystem>
#include <map>
#include <mutex>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include <spdlog/spdlog.h>
#include <torch/types.h>

#include "models/construction.h"
#include "models/weights/encoder_weights.h"
#include "models/weights/weight_file.h"
#include "runtime/error.h"

namespace cskd::features {

runtime::ContentHash weights_digest(const config::Tower& tower) {
  // Every stage behind a tower is made from it, and asks again: files are read once, unless they changed.
  using File = std::tuple<std::string, std::uintmax_t, std::filesystem::file_time_type>;
  static std::mutex mutex;
  static std::map<std::pair<std::string, std::vector<File>>, runtime::ContentHash> known;
  const models::WeightFile weights(tower.weights());  // says what is wrong with it
  std::vector<File> files;
  for (const std::filesystem::path& file : weights.files())
    files.emplace_back(file, std::filesystem::file_size(file), std::filesystem::last_write_time(file));
  const std::pair key(tower.architecture(), files);
  const std::lock_guard lock(mutex);
  if (const auto found = known.find(key); found != known.end()) return found->second;
  runtime::ContentHasher hasher;
  hasher.add_field(tower.architecture());
  weights.add_contents(hasher);
  return known.emplace(key, hasher.hash()).first->second;
}

std::shared_ptr<models::Encoder> load_tower(const run::Context& context, const config::Tower& tower) {
  const std::shared_ptr<models::Encoder> encoder = [&] {
    const models::ConstructionGuard unset(models::Construction::kUnset);
    return models::make_encoder(tower.architecture());
  }();
  const models::WeightReport report = models::load_encoder_weights(*encoder, tower.weights());
  if (context.world.rank() == 0)
    spdlog::info("tower '{}': {}", tower.name(), models::sentence(report, encoder->shape()));
  encoder->to(context.communicator.device());
  encoder->eval();
  for (const torch::Tensor& parameter : encoder->parameters()) parameter.requires_grad_(false);
  encoder->fold_for_inference();
  return encoder;
}

}  // namespace cskd::features
