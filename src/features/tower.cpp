#include "features/tower.h"

#include <filesystem>
#include <map>
#include <mutex>
#include <string>
#include <tuple>

#include <torch/torch.h>

#include "runtime/error.h"
#include "runtime/input_file.h"

namespace cskd::features {

runtime::ContentHash weights_digest(const config::Tower& tower) {
  // Every stage behind a tower is made from it, and asks again: a file is read once, unless it changed.
  using Key = std::tuple<std::string, std::string, std::uintmax_t, std::filesystem::file_time_type>;
  static std::mutex mutex;
  static std::map<Key, runtime::ContentHash> known;
  const runtime::InputFile file(tower.weights());  // says what is wrong with it
  const Key key(tower.architecture(), tower.weights(), file.size(), std::filesystem::last_write_time(tower.weights()));
  const std::lock_guard lock(mutex);
  if (const auto found = known.find(key); found != known.end()) return found->second;
  runtime::ContentHasher hasher;
  hasher.add_field(tower.architecture());
  runtime::add_contents(file, hasher);
  return known.emplace(key, hasher.hash()).first->second;
}

std::shared_ptr<models::Encoder> load_tower(const run::Context& context, const config::Tower& tower) {
  std::shared_ptr<models::Encoder> encoder = models::make_encoder(tower.architecture());
  models::load_encoder_weights(*encoder, tower.weights());
  encoder->to(context.communicator.device());
  encoder->eval();
  for (const torch::Tensor& parameter : encoder->parameters()) parameter.requires_grad_(false);
  return encoder;
}

}  // namespace cskd::features
