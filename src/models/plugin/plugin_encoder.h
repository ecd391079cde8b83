// An encoder whose forward pass is a program of torch.export.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "models/encoder.h"
#include "models/foldable.h"
#include "models/plugin/plugin_description.h"
#include "models/plugin/program_runner.h"

namespace cskd::models {

// Parameters and buffers have the names that they have in Python. Buffers that are no statistics of batch normalisation
// are constants, with the values that the file gives them. In training mode batch normalisation and dropout do what
// they do in Python; attention and drop path it does not know.
class PluginEncoder final : public Encoder, public Foldable {
 public:
  // `constants`: by name, of all inputs of the program that are neither parameters nor statistics; on the meta device
  // their values are not needed. Throws DataError that begins with `origin` for names that no module can bear.
  PluginEncoder(EncoderShape shape, const PreparedProgram& program,
                const std::map<std::string, torch::Tensor>& constants, const PluginOutputs& outputs,
                const std::string& origin);

  using Encoder::forward;
  Features forward(const torch::Tensor& images, const Request& request) override;
  void fold() override;

 private:
  void require_shape(const torch::Tensor& result, std::int64_t batch, std::size_t output) const;
  torch::nn::Module& parent_of(const std::string& name, const std::string& origin);
  void draw();

  ProgramRunner runner_;
  PluginOutputs outputs_;
  std::vector<torch::Tensor> inputs_;  // of the program, the registered tensors themselves
  // Where folded: with packed products, if there are any.
  std::optional<ProgramRunner> packed_runner_;
  std::vector<torch::Tensor> packed_inputs_;
  bool is_folded_ = false;
};

}  // namespace cskd::models
