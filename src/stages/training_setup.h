// A training, and the model that it trains, as a configuration says.
#pragma once

#include <string>

#include "config/config.pb.h"

namespace cskd::stages {

struct TrainingSetup {
  const config::Training* training = nullptr;
  std::string encoder_key;  // that names the encoder: "align.encoder"
  std::string encoder;
  int image_size = 0;  // 0: the encoder's own
  config::Start start = config::random;
};

}  // namespace cskd::stages
