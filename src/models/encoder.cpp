#include "models/encoder.h"

#include <algorithm>
#include <utility>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "models/encoder_entry.h"
#include "models/encoder_registry.h"
#include "models/families/convnext.h"
#include "models/families/efficientnet.h"
#include "models/families/fastvit.h"
#include "models/families/mobilenet.h"
#include "models/families/mobileone.h"
#include "models/families/modified_resnet.h"
#include "models/families/relative_vision_transformer.h"
#include "models/families/resnet.h"
#include "models/families/rotary_vision_transformer.h"
#include "models/families/swin.h"
#include "models/families/swin_v2.h"
#include "models/families/vision_transformer.h"
#include "models/foldable.h"
#include "models/plugin/plugin.h"
#include "runtime/check.h"
#include "runtime/error.h"
#include "runtime/spelling.h"

namespace cskd::models {

namespace {

void fold(torch::nn::Module& module) {
  if (auto* const foldable = dynamic_cast<Foldable*>(&module)) {
    foldable->fold();
    return;
  }
  for (const std::shared_ptr<torch::nn::Module>& child : module.children()) fold(*child);
}

}  // namespace

// Every family, by one line.
const std::vector<EncoderEntry>& encoder_entries() {
  static const std::vector<EncoderEntry> all = [] {
    std::vector<EncoderEntry> list;
    for (const auto& family :
         {vision_transformer_entries, rotary_vision_transformer_entries, relative_vision_transformer_entries,
          swin_entries, swin_v2_entries, mobilenet_entries, efficientnet_entries, mobileone_entries, fastvit_entries,
          resnet_entries, modified_resnet_entries, convnext_entries})
      for (EncoderEntry& entry : family()) list.push_back(std::move(entry));
    return list;
  }();
  return all;
}

const EncoderEntry& encoder_entry(const std::string& name) {
  const auto found = std::ranges::find(encoder_entries(), name, &EncoderEntry::name);
  if (found != encoder_entries().end()) return *found;
  if (const EncoderEntry* const plugin = find_plugin(name)) return *plugin;
  const std::vector<std::string> names = encoder_names();
  const std::string near = runtime::nearest(name, names);
  throw runtime::UsageError(fmt::format("unknown encoder '{}'{}; known are {}", name,
                                        near.empty() ? "" : fmt::format(", did you mean '{}'?", near),
                                        fmt::join(names, ", ")));
}

void Encoder::require(const torch::Tensor& images, const Request& request) const {
  const std::int64_t side = shape_.image_size;
  CSKD_CHECK(images.dim() == 4 && images.size(1) == 3 && images.size(2) == side && images.size(3) == side,
             "{}: images must be [N, 3, {}, {}], not [{}]", shape_.name, side, side, fmt::join(images.sizes(), ", "));
  for (const int layer : request.attention)
    CSKD_CHECK(layer >= 0 && layer < shape_.attention_layers, "{} has no attention in layer {}", shape_.name, layer);
}

void Encoder::set_drop_path(double rate) {
  CSKD_CHECK(rate >= 0 && rate < 1, "a rate of {} for drop path", rate);
  drop_path_ = rate;
}

double Encoder::drop_path_of(std::size_t block, std::size_t blocks) const {
  return blocks > 1 ? drop_path_ * static_cast<double>(block) / static_cast<double>(blocks - 1) : drop_path_;
}

void Encoder::fold_for_inference() { fold(*this); }

torch::Tensor drop_path(const torch::Tensor& branch, double probability, bool is_training) {
  if (probability == 0 || !is_training) return branch;
  std::vector<std::int64_t> shape(static_cast<std::size_t>(branch.dim()), 1);
  shape[0] = branch.size(0);
  const torch::Tensor kept = at::empty(shape, branch.options()).bernoulli_(1 - probability);
  return branch * kept.div_(1 - probability);
}

std::vector<std::string> encoder_names() {
  std::vector<std::string> names;
  for (const EncoderEntry& entry : encoder_entries()) names.push_back(entry.name);
  return names;
}

EncoderShape encoder_shape(const std::string& name, int image_size) {
  const EncoderEntry& entry = encoder_entry(name);
  EncoderShape shape{.name = name,
                     .image_size = image_size == 0 ? entry.image_size : image_size,
                     .pooled_width = entry.pooled_width,
                     .token_width = entry.token_width,
                     .attention_layers = entry.attention_layers,
                     .mean = entry.normalisation.mean,
                     .stddev = entry.normalisation.stddev};
  if (entry.fixed_grid) {
    if (shape.image_size != entry.image_size) {
      throw runtime::UsageError(
          fmt::format("plug-in '{}' was exported for an image size of {}, not {}: export it again for that size", name,
                      entry.image_size, shape.image_size));
    }
    shape.grid = *entry.fixed_grid;
    return shape;
  }
  const int step = entry.takes_any_size ? 1 : entry.stride;
  if (shape.image_size < 0 || shape.image_size % step != 0) {
    throw runtime::UsageError(fmt::format("encoder '{}' cannot have an image size of {}: expected a multiple of {}",
                                          name, shape.image_size, step));
  }
  shape.grid = (shape.image_size + entry.stride - 1) / entry.stride;
  return shape;
}

const ParameterNames& parameter_names(const std::string& encoder) { return encoder_entry(encoder).parameters; }

bool normalises_batches(const std::string& name) { return encoder_entry(name).normalises_batches; }

bool has_drop_path(const std::string& name) { return encoder_entry(name).has_drop_path; }

std::shared_ptr<Encoder> make_encoder(const std::string& name, int image_size) {
  return encoder_entry(name).make(encoder_shape(name, image_size));
}

}  // namespace cskd::models
