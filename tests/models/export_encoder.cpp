// export_encoder ENCODER FOLDER: writes an encoder of random weights as <FOLDER>/model.onnx, and four images and their
// pooled features, float32, as it computes them itself, into images and outputs.
#include <filesystem>
#include <fstream>
#include <iostream>

#include <torch/types.h>
#include <torch/utils.h>

#include "export/onnx_file.h"
#include "export/recording.h"
#include "export/translation.h"
#include "models/encoder.h"

namespace {

void write(const std::filesystem::path& path, const at::Tensor& tensor) {
  const at::Tensor kept = tensor.contiguous();
  std::ofstream(path, std::ios::binary)
      .write(static_cast<const char*>(kept.const_data_ptr()), static_cast<std::streamsize>(kept.nbytes()));
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 3) return 2;
  const std::filesystem::path folder = argv[2];
  const torch::NoGradGuard no_gradients;
  torch::manual_seed(1);
  const auto encoder = cskd::models::make_encoder(argv[1]);
  for (const auto& buffer : encoder->named_buffers()) {
    // Statistics that change something when they become part of a convolution.
    if (buffer.key().ends_with("running_mean")) buffer.value().normal_(0, 0.1);
    if (buffer.key().ends_with("running_var")) buffer.value().uniform_(0.5, 2);
  }
  encoder->eval();
  for (const at::Tensor& parameter : encoder->parameters()) parameter.requires_grad_(false);
  encoder->fold_for_inference();
  const std::int64_t side = encoder->shape().image_size;
  const auto network = [&](const at::Tensor& images) {
    return std::vector<at::Tensor>{encoder->forward(images).pooled};
  };
  const auto recording = cskd::exporting::record(network, torch::zeros({1, 3, side, side}));
  auto graph = cskd::exporting::translate(recording, {"images", {"pooled"}}, cskd::exporting::FloatType::kFloat32);
  std::ofstream(folder / "model.onnx", std::ios::binary)
      << cskd::exporting::onnx_file(std::move(graph), argv[1], "", {});
  const at::Tensor images = torch::randn({4, 3, side, side});
  write(folder / "images", images);
  write(folder / "outputs", network(images).front());
  return 0;
}
