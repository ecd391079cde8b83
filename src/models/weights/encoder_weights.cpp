#include "models/weights/encoder_weights.h"

#include <algorithm>
#include <map>
#include <regex>
#include <set>
#include <span>

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <torch/types.h>
#include <torch/utils.h>

#include "models/construction.h"
#include "models/encoder_registry.h"
#include "models/safetensors.h"
#include "models/weights/gelu_sign.h"
#include "models/weights/weight_file.h"
#include "models/weights/weight_match.h"
#include "runtime/check.h"
#include "runtime/error.h"

namespace cskd::models {
namespace {

using torch::Tensor;

Tensor rows_of(const Tensor& tensor, const Rows& rows) {
  if (rows.of == 1) return tensor;
  const std::int64_t part = tensor.size(0) / rows.of;
  return tensor.slice(0, rows.begin * part, rows.end * part);
}

class Reader {
 public:
  Reader(const WeightFile& file, const EncoderEntry& entry) : file_(file), entry_(entry) {}

  void read(const Assignment& assignment, const Tensor& whole) const {
    const Tensor to = rows_of(whole, assignment.to);
    copy(assignment, to);
    if (assignment.added != 0) to.add_(assignment.added);
  }

  void read(const Derivation& derivation, const Tensor& whole) const {
    std::vector<Tensor> stored;
    for (const std::string& name : derivation.stored) {
      const TensorInfo& info = file_.tensors().at(name);
      stored.push_back(at::empty(info.shape, at::TensorOptions(info.type)));
      file_.read(name, 0, {static_cast<std::byte*>(stored.back().mutable_data_ptr()), stored.back().nbytes()});
      stored.back() = stored.back().to(at::kFloat);
    }
    const Tensor made = derivation.make(stored);
    whole.copy_(derivation.is_resampled ? entry_.resample(derivation.wanted, made, whole.sizes()) : made);
  }

 private:
  void copy(const Assignment& assignment, const Tensor& to) const {
    const TensorInfo& info = file_.tensors().at(assignment.stored);
    const bool is_plain = info.type == to.scalar_type() && to.is_contiguous() && !assignment.flips;
    if (is_plain && assignment.from.of == 1 && !assignment.is_resampled) {
      fill(assignment, to, 0);
      return;
    }
    Rows from = assignment.from;
    std::vector<std::int64_t> shape = info.shape;
    std::uint64_t begin = 0;
    if (from.of > 1 && !assignment.flips) {
      begin = (info.end - info.begin) / static_cast<std::uint64_t>(from.of) * static_cast<std::uint64_t>(from.begin);
      shape[0] = shape[0] / from.of * (from.end - from.begin);
      from = {};
    }
    const Tensor stored = at::empty(shape, at::TensorOptions(info.type));
    fill(assignment, stored, begin);
    const Tensor turned = rows_of(assignment.flips ? stored.t() : stored, from);
    if (assignment.is_resampled) {
      to.copy_(entry_.resample(assignment.wanted, turned.to(at::kFloat), to.sizes()));
    } else {
      to.copy_(turned.reshape(to.sizes()));
    }
  }

  void fill(const Assignment& assignment, const Tensor& to, std::uint64_t begin) const {
    file_.read(assignment.stored, begin, {static_cast<std::byte*>(to.mutable_data_ptr()), to.nbytes()});
  }

  const WeightFile& file_;
  const EncoderEntry& entry_;
};

WeightReport report_of(const WeightMatch& match, const WeightFile& file) {
  WeightReport report{.layout = match.layout, .held = file.tensors().size(), .left_out = match.left_out};
  std::set<std::string> used;
  for (const Assignment& assignment : match.assignments) {
    used.insert(assignment.stored);
    if (assignment.is_resampled) report.resampled.push_back(assignment.wanted);
  }
  for (const Derivation& derivation : match.derivations) {
    used.insert(derivation.stored.begin(), derivation.stored.end());
    if (derivation.is_resampled) report.resampled.push_back(derivation.wanted);
  }
  report.used = used.size();
  return report;
}

// Throws if the file is of a kind that `entry` knows it cannot take.
void require_usable(const WeightMatch& match, const EncoderEntry& entry, const std::string& path) {
  for (const UnusableTensor& unusable : entry.unusable) {
    const std::regex pattern(unusable.pattern);
    for (const std::string& tensor : match.unexpected) {
      if (!std::regex_match(tensor, pattern)) continue;
      throw runtime::DataError(
          fmt::format("{} cannot fill encoder '{}': {} (it holds {})", path, entry.name, unusable.reason, tensor));
    }
  }
}

// Throws DataError for a file that must not be loaded into this encoder.
WeightMatch complete_match(const Encoder& encoder, const WeightFile& file, const EncoderEntry& entry) {
  WeightMatch match = match_weights(file, wanted_tensors(encoder), entry);
  if (match.is_complete()) {
    if (!match.refusal.empty()) {
      throw runtime::DataError(fmt::format("the weights in {} are {}'s, not for encoder '{}': {}", file.path().native(),
                                           match.layout, encoder.shape().name, match.refusal));
    }
    require_gelu(file, entry);
    return match;
  }
  require_usable(match, entry, file.path().native());
  std::string message =
      fmt::format("the tensors of {} are not those of encoder '{}' at image size {}: {}", file.path().native(),
                  encoder.shape().name, encoder.shape().image_size, match.faults());
  if (match.assignments.empty() && !match.left_out.empty())
    message += fmt::format(". It holds nothing but: {}", fmt::join(match.left_out, ", "));
  std::vector<std::string> names;
  for (const RecognisedEncoder& other : recognise_encoders(file)) names.push_back(other.name);
  if (!names.empty()) message += fmt::format(". They are those of {}", fmt::join(names, ", "));
  throw runtime::DataError(message);
}

}  // namespace

std::string sentence(const WeightReport& report, const EncoderShape& shape) {
  std::string text = fmt::format("{} {}, {} of {} tensors used", report.layout, shape.name, report.used, report.held);
  if (!report.left_out.empty()) text += fmt::format(", {} left out", fmt::join(report.left_out, ", "));
  if (!report.resampled.empty()) {
    text += fmt::format(", {} resampled to {} pixels", fmt::join(report.resampled, ", "), shape.image_size);
  }
  return text;
}

WeightReport load_encoder_weights(Encoder& encoder, const std::filesystem::path& path) {
  const WeightFile file(path);
  file.verify();
  const EncoderEntry& entry = encoder_entry(encoder.shape().name);
  const WeightMatch match = complete_match(encoder, file, entry);

  const torch::NoGradGuard no_gradients;
  std::map<std::string, Tensor> own;
  for (const auto& item : encoder.named_parameters()) own.emplace(item.key(), item.value());
  for (const auto& item : encoder.named_buffers()) own.emplace(item.key(), item.value());
  const Reader reader(file, entry);
  std::map<std::string, std::string> origin;
  for (const Assignment& assignment : match.assignments) {
    reader.read(assignment, own.at(assignment.wanted));
    origin[assignment.wanted] = assignment.stored;
  }
  for (const Derivation& derivation : match.derivations) {
    reader.read(derivation, own.at(derivation.wanted));
    origin[derivation.wanted] = fmt::format("{}", fmt::join(derivation.stored, " and "));
  }
  for (const auto& [wanted, stored] : origin) {
    require_finite(own.at(wanted), stored, path.native());
  }
  for (const auto& [name, tensor] : own) {
    if (!origin.contains(name) && name.ends_with("num_batches_tracked")) tensor.zero_();
  }
  return report_of(match, file);
}

WeightReport examine_encoder_weights(const std::string& encoder, int image_size, const std::filesystem::path& path) {
  const WeightFile file(path);
  const ConstructionGuard shapes(Construction::kShapes);
  return report_of(complete_match(*make_encoder(encoder, image_size), file, encoder_entry(encoder)), file);
}

std::vector<RecognisedEncoder> recognise_encoders(const WeightFile& file) {
  const ConstructionGuard shapes(Construction::kShapes);
  std::vector<RecognisedEncoder> found;
  for (const EncoderEntry& entry : encoder_entries()) {
    const WeightMatch match = match_weights(file, wanted_tensors(*make_encoder(entry.name)), entry);
    if (match.is_complete() && match.refusal.empty())
      found.push_back({.name = entry.name, .report = report_of(match, file)});
  }
  return found;
}

}  // namespace cskd::models
