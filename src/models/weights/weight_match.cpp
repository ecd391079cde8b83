#include "models/weights/weight_match.h"

#include <algorithm>
#include <array>
#include <numeric>
#include <optional>
#include <regex>
#include <set>
#include <string_view>

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <torch/nn/module.h>

#include "models/safetensors_header.h"
#include "runtime/error.h"

namespace cskd::models {
namespace {

// A prefix that all names of an encoder bear in some files, and what the names without it are.
struct Prefix {
  std::string_view text;
  bool has_text_tower = false;  // open_clip and OpenAI; others: parts of a larger model that are none of ours
};
constexpr std::array<Prefix, 15> kPrefixes{{{""},
                                            {"visual.", true},
                                            {"visual.trunk.", true},
                                            {"module.visual.", true},
                                            {"image_encoder.model.", true},
                                            {"image_encoder.", true},
                                            {"module."},
                                            {"model."},
                                            {"encoder."},
                                            {"backbone."},
                                            {"trunk."},
                                            {"vit."},
                                            {"dinov2."},
                                            {"dinov2_with_registers."},
                                            {"vision_model.", true}}};

// What stands beside `visual.` and its like: text tower, the logits' scale, the sizes that OpenAI's files hold.
constexpr std::array<std::string_view, 13> kTextTower{
    "text.",        "transformer.", "token_embedding.", "positional_embedding", "ln_final.",      "text_projection",
    "logit_scale",  "logit_bias",   "attn_mask",        "input_resolution",     "context_length", "vocab_size",
    "text_encoder."};

constexpr std::array<std::string_view, 6> kClassifiers{"classifier.", "head.", "head_dist.", "fc.", "proj", "_fc."};

// Is `name` one of `names`, or below one?
template <std::size_t count>
bool is_among(std::string_view name, const std::array<std::string_view, count>& names) {
  return std::ranges::any_of(names, [&](std::string_view candidate) {
    return name == candidate ||
           (name.starts_with(candidate) && (candidate.ends_with('.') || name[candidate.size()] == '.'));
  });
}

// A few names are enough to see what kind of file it is; a whole foreign model has hundreds.
std::string listed(const std::vector<std::string>& names) {
  constexpr std::size_t kMost = 6;
  const std::size_t shown_names = std::min(names.size(), kMost);
  const std::string text =
      fmt::format("{}", fmt::join(names.begin(), names.begin() + static_cast<std::ptrdiff_t>(shown_names), ", "));
  return names.size() > kMost ? fmt::format("{} and {} more", text, names.size() - kMost) : text;
}

std::vector<std::int64_t> without_ones(const std::vector<std::int64_t>& shape) {
  std::vector<std::int64_t> rest;
  std::ranges::copy_if(shape, std::back_inserter(rest), [](std::int64_t size) { return size != 1; });
  return rest;
}

// The shape of some rows; nothing if they are no whole number.
std::optional<std::vector<std::int64_t>> shape_of(std::vector<std::int64_t> shape, const Rows& rows) {
  if (rows.of == 1) return shape;
  if (shape.empty() || shape[0] % rows.of != 0) return std::nullopt;
  shape[0] = shape[0] / rows.of * (rows.end - rows.begin);
  return shape;
}

bool can_become(at::ScalarType stored, at::ScalarType wanted) {
  const bool is_float = stored == at::kFloat || stored == at::kHalf || stored == at::kBFloat16;
  return stored == wanted || (is_float && c10::isFloatingType(wanted));
}

struct CompiledLayout {
  std::string name;
  std::vector<std::pair<std::regex, NameRule>> rules;  // none: the names are the encoder's own
  std::vector<std::pair<std::regex, std::string>> left_out;
  std::vector<DerivedTensor> derived = {};
  std::string refusal = "";
};

std::vector<CompiledLayout> compiled(const EncoderEntry& entry) {
  std::vector<CompiledLayout> layouts{{.name = entry.home, .rules = {}, .left_out = {}}};
  for (const WeightLayout& layout : entry.layouts) {
    CompiledLayout& made = layouts.emplace_back(CompiledLayout{.name = layout.name, .rules = {}, .left_out = {}});
    for (const NameRule& rule : layout.rules) made.rules.emplace_back(std::regex(rule.pattern), rule);
    for (const LeftOut& part : layout.left_out) made.left_out.emplace_back(std::regex(part.pattern), part.what);
    made.derived = layout.derived;
    made.refusal = layout.refusal;
  }
  for (CompiledLayout& layout : layouts) {
    for (const LeftOut& part : entry.left_out) layout.left_out.emplace_back(std::regex(part.pattern), part.what);
  }
  return layouts;
}

// Where a tensor of the file goes, by its name alone.
std::vector<Assignment> assignments_of(const std::string& stored, const std::string& name,
                                       const CompiledLayout& layout) {
  if (layout.rules.empty()) return {{.stored = stored, .wanted = name, .from = {}, .to = {}}};
  std::vector<Assignment> found;
  for (const auto& [pattern, rule] : layout.rules) {
    std::smatch groups;
    if (!std::regex_match(name, groups, pattern)) continue;
    found.push_back({.stored = stored,
                     .wanted = groups.format(rule.name),
                     .from = rule.from,
                     .to = rule.to,
                     .flips = rule.flips,
                     .added = rule.added});
  }
  return found;
}

class Matcher {
 public:
  Matcher(const WeightFile& file, const std::vector<WantedTensor>& wanted, const EncoderEntry& entry)
      : file_(file), all_(wanted), entry_(entry) {
    for (const WantedTensor& tensor : wanted) wanted_.emplace(tensor.name, &tensor);
  }

  WeightMatch match(const CompiledLayout& layout, const Prefix& prefix) const {
    WeightMatch result{.layout = layout.name, .refusal = layout.refusal, .prefix = std::string(prefix.text)};
    std::set<std::string> left_out;
    std::map<std::string, std::vector<Rows>> filled;
    derive(layout, prefix, result);
    std::set<std::string> derived_from;
    for (const Derivation& derivation : result.derivations) {
      derived_from.insert(derivation.stored.begin(), derivation.stored.end());
      filled[derivation.wanted] = {Rows{}};
    }
    for (const auto& [stored, info] : file_.tensors()) {
      if (!stored.starts_with(prefix.text)) {
        if (!prefix.has_text_tower) {
          left_out.insert(fmt::format("what is not below '{}'", prefix.text));
        } else if (is_among(stored, kTextTower) || stored.starts_with("text_model.")) {
          left_out.insert("text tower");
        } else if (const std::string what = left_out_as(stored, layout); !what.empty()) {
          left_out.insert(what);
        } else {
          result.unexpected.push_back(stored);
        }
        continue;
      }
      const std::string name = stored.substr(prefix.text.size());
      bool is_used = derived_from.contains(stored);
      for (Assignment& assignment : assignments_of(stored, name, layout)) {
        const auto target = wanted_.find(assignment.wanted);
        if (target == wanted_.end()) continue;
        is_used = true;
        if (target->second->is_constant) continue;
        if (const std::string fault = misfit(assignment, info, *target->second); !fault.empty()) {
          result.misfits.push_back(fault);
        }
        filled[assignment.wanted].push_back(assignment.to);
        result.assignments.push_back(std::move(assignment));
      }
      if (is_used) continue;
      if (const std::string what = left_out_as(name, layout); !what.empty()) {
        left_out.insert(what);
      } else {
        result.unexpected.push_back(stored);
      }
    }
    for (const WantedTensor& tensor : all_) {
      if (tensor.is_constant) continue;
      ++result.wanted;
      // Files that were converted from elsewhere lack this count, which only training without a momentum reads.
      const bool is_needed = !tensor.name.ends_with("num_batches_tracked");
      if (is_needed && !is_filled(filled, tensor.name)) result.missing.push_back(tensor.name);
    }
    result.left_out.assign(left_out.begin(), left_out.end());
    return result;
  }

 private:
  static bool is_filled(const std::map<std::string, std::vector<Rows>>& filled, const std::string& name) {
    const auto found = filled.find(name);
    if (found == filled.end()) return false;
    double share = 0;
    for (const Rows& rows : found->second) share += static_cast<double>(rows.end - rows.begin) / rows.of;
    return share > 0.999 && share < 1.001;
  }

  static std::string left_out_as(const std::string& name, const CompiledLayout& layout) {
    for (const auto& [pattern, what] : layout.left_out) {
      if (std::regex_match(name, pattern)) return what;
    }
    return is_among(name, kClassifiers) ? (name == "proj" ? "projection" : "classifier") : "";
  }

  // What `layout` computes from tensors that are all there.
  void derive(const CompiledLayout& layout, const Prefix& prefix, WeightMatch& result) const {
    for (const DerivedTensor& tensor : layout.derived) {
      const auto target = wanted_.find(tensor.name);
      Derivation derivation{.wanted = tensor.name, .stored = {}, .make = tensor.make};
      std::vector<at::Tensor> shapes;
      for (const std::string& name : tensor.from) {
        derivation.stored.push_back(std::string(prefix.text) + name);
        const auto stored = file_.tensors().find(derivation.stored.back());
        if (stored == file_.tensors().end() || !can_become(stored->second.type, at::kFloat)) break;
        shapes.push_back(at::empty(stored->second.shape, at::TensorOptions(at::kMeta).dtype(at::kFloat)));
      }
      if (target == wanted_.end() || shapes.size() != tensor.from.size()) continue;
      const std::vector<std::int64_t>& wanted = target->second->shape;
      const at::Tensor made = shape_made(tensor, shapes);
      if (made.defined() && made.sizes() != wanted && entry_.resample)
        derivation.is_resampled = entry_.resample(tensor.name, made, wanted).defined();
      if (!made.defined() || (made.sizes() != wanted && !derivation.is_resampled)) {
        result.misfits.push_back(
            fmt::format("{} do not make a [{}]", fmt::join(derivation.stored, " and "), fmt::join(wanted, ", ")));
      }
      result.derivations.push_back(std::move(derivation));
    }
  }

  // Undefined if tensors of a hostile file have shapes that cannot be computed with.
  static at::Tensor shape_made(const DerivedTensor& tensor, const std::vector<at::Tensor>& shapes) {
    try {
      return tensor.make(shapes);
    } catch (const c10::Error&) {
      return {};
    }
  }

  // Empty if the tensor can go where it shall.
  std::string misfit(Assignment& assignment, const TensorInfo& stored, const WantedTensor& wanted) const {
    if (!can_become(stored.type, wanted.type)) {
      return fmt::format("{} has {} values instead of {}", assignment.stored, at::toString(stored.type),
                         at::toString(wanted.type));
    }
    std::vector<std::int64_t> shape = stored.shape;
    if (assignment.flips) std::ranges::reverse(shape);
    const auto from = shape_of(shape, assignment.from);
    const auto to = shape_of(wanted.shape, assignment.to);
    if (from && to && (*from == *to || without_ones(*from) == without_ones(*to))) return {};
    const bool is_whole = assignment.from.of == 1 && assignment.to.of == 1;
    if (is_whole && entry_.resample) {
      const at::Tensor there = at::empty(shape, at::TensorOptions(at::kMeta).dtype(at::kFloat));
      if (entry_.resample(wanted.name, there, wanted.shape).defined()) {
        assignment.is_resampled = true;
        return {};
      }
    }
    return fmt::format("{} is [{}] instead of [{}]", assignment.stored, fmt::join(stored.shape, ", "),
                       fmt::join(wanted.shape, ", "));
  }

  const WeightFile& file_;
  const std::vector<WantedTensor>& all_;
  const EncoderEntry& entry_;
  std::map<std::string, const WantedTensor*> wanted_;
};

}  // namespace

std::string WeightMatch::faults() const {
  std::vector<std::string> faults;
  if (!missing.empty()) faults.push_back(fmt::format("{} missing ({})", missing.size(), listed(missing)));
  if (!unexpected.empty()) faults.push_back(fmt::format("{} unexpected ({})", unexpected.size(), listed(unexpected)));
  if (!misfits.empty())
    faults.push_back(fmt::format("{} of another shape or type ({})", misfits.size(), listed(misfits)));
  return fmt::format("{}", fmt::join(faults, "; "));
}

std::vector<WantedTensor> wanted_tensors(const Encoder& encoder) {
  std::vector<WantedTensor> wanted;
  for (const auto& item : encoder.named_parameters())
    wanted.push_back({.name = item.key(), .shape = item.value().sizes().vec(), .type = item.value().scalar_type()});
  for (const auto& item : encoder.named_buffers()) {
    wanted.push_back({.name = item.key(),
                      .shape = item.value().sizes().vec(),
                      .type = item.value().scalar_type(),
                      .is_constant = !is_statistic(item.key())});
  }
  return wanted;
}

WeightMatch match_weights(const WeightFile& file, const std::vector<WantedTensor>& wanted, const EncoderEntry& entry) {
  const Matcher matcher(file, wanted, entry);
  std::optional<WeightMatch> best;
  for (const CompiledLayout& layout : compiled(entry)) {
    for (const Prefix& prefix : kPrefixes) {
      const auto has_prefix = [&](const auto& item) { return item.first.starts_with(prefix.text); };
      if (!prefix.text.empty() && std::ranges::none_of(file.tensors(), has_prefix)) continue;
      WeightMatch match = matcher.match(layout, prefix);
      // With the same number missing, the one that leaves less unexplained.
      const auto faults = [](const WeightMatch& m) { return std::pair(m.missing.size(), m.unexpected.size()); };
      if (!best || faults(match) < faults(*best)) best = std::move(match);
    }
  }
  return *best;
}

}  // namespace cskd::models
