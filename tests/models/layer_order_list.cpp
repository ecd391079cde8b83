// layer_order_list ENCODER LAYER_DECAY: for each parameter of the encoder with a score head of 5 outputs a line of
// name, layer, share of the learning rate, and 1 for an embedding, 0 else. For layer_order_test.py.
#include <cstdio>
#include <exception>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include <fmt/format.h>

#include "models/encoder.h"
#include "models/headed_encoder.h"
#include "models/layer_order.h"

namespace {

void list(const std::string& encoder, double layer_decay) {
  cskd::models::HeadedEncoder model(cskd::models::make_encoder(encoder), cskd::models::kScoreHead, 5);
  std::vector<std::string> names;
  for (const auto& parameter : model.trainable()) names.push_back(parameter.first);
  const cskd::models::LayerOrder order(names, cskd::models::parameter_names(encoder));
  for (const std::string& name : names) {
    fmt::print("{} {} {} {:d}\n", name, order.layer_of(name), order.rate_share(name, layer_decay),
               order.is_embedding(name));
  }
}

}  // namespace

int main(int argc, char** argv) {
  try {
    if (argc != 3) throw std::runtime_error("the arguments are described at the top of layer_order_list.cpp");
    list(argv[1], std::stod(argv[2]));
    return 0;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "layer_order_list: %s\n", error.what());
    return 1;
  }
}
