// The files of trained models: weights, and what they are weights of.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include <ATen/core/Tensor.h>

#include "models/headed_encoder.h"
#include "runtime/atomic_file.h"

namespace cskd::models {

struct StoredModel {
  std::filesystem::path path;
  std::string encoder;  // make_encoder() knows it, a plug-in too
  int image_size = 0;
  std::int64_t outputs = 0;
  bool whitens = false;  // its head sees whitened features
  std::map<std::string, std::string> metadata;
  std::map<std::string, at::Tensor> tensors;  // as HeadedEncoder::state()
};

// Reads a model.safetensors, and registers the plug-in that it holds. Throws DataError: damaged, of something else.
StoredModel read_model(const std::filesystem::path& path);

// What read_model() needs to know of a model.
std::map<std::string, std::string> model_metadata(const HeadedEncoder& model, const std::string& stage,
                                                  std::int64_t outputs);

// `tensors` as HeadedEncoder::state(), with what model_metadata() says, and more. A plug-in's program goes with it: the
// file needs no other.
runtime::FileFacts write_model(const std::filesystem::path& path,
                               std::vector<std::pair<std::string, at::Tensor>> tensors,
                               std::map<std::string, std::string> metadata);

}  // namespace cskd::models
