#include "shards/feature_cache/format.h"

namespace cskd::shards {

std::vector<std::pair<std::string, std::string>> fields(const CacheBinding& binding) {
  return {{"encoder", binding.encoder},
          {"weights", binding.weights.hex()},
          {"image_size", std::to_string(binding.image_size)},
          {"preprocessing", binding.preprocessing},
          {"views", binding.views},
          {"decoder_version", std::to_string(binding.decoder_version)},
          {"width", std::to_string(binding.width)}};
}

}  // namespace cskd::shards
