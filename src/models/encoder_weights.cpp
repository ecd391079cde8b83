#include <algorithm>
#include <array>
#include <map>
#include <string_view>
#include <utility>

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <torch/torch.h>

#include "models/encoder.h"
#include "models/safetensors.h"
#include "runtime/error.h"

namespace cskd::models {
namespace {

using torch::Tensor;

constexpr std::string_view kTowerPrefix = "visual.";

// What open_clip and OpenAI store beside `visual.`: the text tower, the logits' scale, and the sizes that OpenAI's
// files hold.
constexpr std::array<std::string_view, 12> kTextTower{
    "text.",       "transformer.", "token_embedding.", "positional_embedding", "ln_final.",      "text_projection",
    "logit_scale", "logit_bias",   "attn_mask",        "input_resolution",     "context_length", "vocab_size"};

constexpr std::array<std::string_view, 4> kHeads{"classifier.", "head.", "fc.", "proj"};

// Is `name` one of `names`, or below one?
template <size_t count>
bool is_among(std::string_view name, const std::array<std::string_view, count>& names) {
  for (const std::string_view candidate : names) {
    if (name == candidate ||
        (name.starts_with(candidate) && (candidate.ends_with('.') || name[candidate.size()] == '.'))) {
      return true;
    }
  }
  return false;
}

// A few names are enough to see what kind of file it is; a whole foreign model has hundreds.
std::string listed(const std::vector<std::string>& names) {
  constexpr size_t kMost = 6;
  const size_t shown = std::min(names.size(), kMost);
  const std::string text = fmt::format("{}", fmt::join(names.begin(), names.begin() + static_cast<long>(shown), ", "));
  return names.size() > shown ? fmt::format("{} and {} more", text, names.size() - shown) : text;
}

// Empty if the values of `stored` can become those of `own`.
std::string misfit(const std::string& name, const Tensor& stored, const Tensor& own) {
  if (stored.sizes() != own.sizes()) {
    return fmt::format("{} is [{}] instead of [{}]", name, fmt::join(stored.sizes(), ", "),
                       fmt::join(own.sizes(), ", "));
  }
  const at::ScalarType type = stored.scalar_type();
  const bool converts = type == own.scalar_type() ||
                        (own.is_floating_point() && (type == at::kHalf || type == at::kBFloat16 || type == at::kFloat));
  if (converts) return {};
  return fmt::format("{} has {} values instead of {}", name, at::toString(type), at::toString(own.scalar_type()));
}

}  // namespace

void load_encoder_weights(Encoder& encoder, const std::string& path) {
  std::map<std::string, Tensor> stored = read_safetensors(path);
  const bool has_towers = std::any_of(stored.begin(), stored.end(),
                                      [](const auto& entry) { return entry.first.starts_with(kTowerPrefix); });

  std::vector<std::pair<Tensor, Tensor>> copies;  // from, to
  std::vector<std::string> names;                 // of these
  std::vector<std::string> missing;
  std::vector<std::string> misfits;
  const auto match = [&](const std::string& name, const Tensor& own) {
    const auto found = stored.find(has_towers ? std::string(kTowerPrefix) + name : name);
    if (found == stored.end()) {
      missing.push_back(name);
      return;
    }
    if (const std::string reason = misfit(found->first, found->second, own); !reason.empty()) {
      misfits.push_back(reason);
    } else {
      copies.emplace_back(found->second, own);
      names.push_back(found->first);
    }
    stored.erase(found);
  };
  for (const auto& parameter : encoder.named_parameters()) match(parameter.key(), parameter.value());
  for (const auto& buffer : encoder.named_buffers()) {
    if (is_statistic(buffer.key())) {
      match(buffer.key(), buffer.value());
    } else {  // files may hold a constant, too
      stored.erase(has_towers ? std::string(kTowerPrefix) + buffer.key() : buffer.key());
    }
  }

  std::vector<std::string> unexpected;
  for (const auto& [name, tensor] : stored) {
    const bool in_tower = has_towers && name.starts_with(kTowerPrefix);
    const std::string_view own_name =
        in_tower ? std::string_view(name).substr(kTowerPrefix.size()) : std::string_view(name);
    const bool passed_over = has_towers && !in_tower ? is_among(own_name, kTextTower) : is_among(own_name, kHeads);
    if (!passed_over) unexpected.push_back(name);
  }

  std::vector<std::string> faults;
  if (!missing.empty()) faults.push_back(fmt::format("{} missing ({})", missing.size(), listed(missing)));
  if (!unexpected.empty()) faults.push_back(fmt::format("{} unexpected ({})", unexpected.size(), listed(unexpected)));
  if (!misfits.empty())
    faults.push_back(fmt::format("{} of another shape or type ({})", misfits.size(), listed(misfits)));
  if (!faults.empty()) {
    throw runtime::DataError(fmt::format("the tensors of {} are not those of encoder '{}' at image size {}: {}", path,
                                         encoder.shape().name, encoder.shape().image_size, fmt::join(faults, "; ")));
  }

  for (std::size_t i = 0; i < copies.size(); ++i) require_finite(copies[i].first, names[i], path);
  const torch::NoGradGuard no_gradients;
  for (auto& [from, to] : copies) to.copy_(from);
}

}  // namespace cskd::models
