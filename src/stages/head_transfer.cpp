#include "stages/head_transfer.h"

#include <algorithm>
#include <optional>
#include <set>
#include <utility>

#include <fmt/format.h>
#include <torch/types.h>
#include <torch/utils.h>

#include "config/tables.h"
#include "config/toml_writer.h"
#include "features/cache.h"
#include "inference/stage_model.h"
#include "models/encoder.h"
#include "runtime/check.h"
#include "runtime/error.h"
#include "stages/attention_reference.h"
#include "stages/model_source.h"
#include "stages/teacher_answers.h"

namespace cskd::stages {
namespace {

// The name behind "<list>."; nothing in another list.
std::optional<std::string> name_in(const std::string& table, const std::string& list) {
  if (!table.starts_with(list + ".")) return std::nullopt;
  return table.substr(list.size() + 1);
}

// First row of a tower in the projector of an alignment, and rows; nothing: it is not among its towers.
struct Rows {
  std::int64_t first = 0, count = 0;
};
std::optional<Rows> rows_of(const config::Config& config, const config::Align& align, const std::string& tower) {
  Rows rows;
  for (const std::string& name : align.towers()) {
    rows.count = models::encoder_shape(config::table_named(config.towers(), name).architecture()).pooled_width;
    if (name == tower) return rows;
    rows.first += rows.count;
  }
  return std::nullopt;
}

void require_answers(const config::Config& config, const std::string& name, const config::Distill& distill) {
  if (distill.answers() != config::Distill::same_view) return;
  if (distill.consistency_weight() > 0) {
    throw runtime::UsageError(fmt::format(
        "distill.{0}.answers is \"same_view\", whose crops do not look as good as the whole picture that the moving "
        "average would see: set distill.{0}.consistency_weight to 0",
        name));
  }
  const config::Tower* first = nullptr;
  const auto towers = teachers_towers(config, distill);
  if (!towers.front()) {
    throw runtime::UsageError(
        fmt::format("distill.{}.answers is \"same_view\", but its first teacher, {}, is no ridge.NAME on the whitened "
                    "features of a tower, whose views the student would see",
                    name, distill.teachers(0)));
  }
  for (const auto& read : towers) {
    if (!read) continue;
    const config::Tower& tower = config::table_named(config.towers(), *read);
    features::require_views(tower, tower.views().count() > 0);
    if (first == nullptr) first = &tower;
    if (config::settings_of(tower.views(), "") != config::settings_of(first->views(), "")) {
      throw runtime::UsageError(fmt::format(
          "distill.{}: towers.{}.views differ from towers.{}.views, but the student sees each picture once for all "
          "teachers: give both the same",
          name, tower.name(), first->name()));
    }
  }
}

void require_partner(const config::Config& config, const std::string& name, const config::Distill& distill) {
  if (distill.partner().empty()) return;
  if (distill.head() != config::Distill::own || distill.answers() != config::Distill::whole) {
    throw runtime::UsageError(fmt::format(
        "distill.{0}.partner is given: two models that learn from each other take distill.{0}.head = \"own\" and "
        "distill.{0}.answers = \"whole\"",
        name));
  }
  const auto side = [&](const std::string& from) {
    const ModelSource source = model_source(config, from);
    return models::encoder_shape(source.architecture, source.image_size).image_size;
  };
  if (side(distill.from()) != side(distill.partner())) {
    throw runtime::UsageError(
        fmt::format("distill.{0} trains two models on the same pixels, but distill.{0}.from sees images of {1} and "
                    "distill.{0}.partner of {2} pixels a side: give their encoders the same image_size",
                    name, side(distill.from()), side(distill.partner())));
  }
}

}  // namespace

void require_distill(const config::Config& config, const std::string& name) {
  const config::Distill& distill = config::table_named(config.distill(), name);
  std::set<std::string> teachers;
  for (const std::string& teacher : distill.teachers()) {
    if (!teachers.insert(teacher).second)
      throw runtime::UsageError(fmt::format("distill.{}.teachers names {} twice", name, teacher));
  }
  require_partner(config, name, distill);
  require_attention(config, distill);
  require_answers(config, name, distill);
  if (distill.feature_weight() > 0 &&
      (distill.answers() != config::Distill::same_view || distill.head() != config::Distill::teacher)) {
    throw runtime::UsageError(
        fmt::format("distill.{0}.feature_weight is {1}: it takes distill.{0}.answers = \"same_view\" and "
                    "distill.{0}.head = \"teacher\"",
                    name, distill.feature_weight()));
  }
  if (distill.head() != config::Distill::teacher) return;
  const auto tower = teachers_towers(config, distill).front();
  const auto align = name_in(distill.from(), "align");
  if (tower && align && rows_of(config, config::table_named(config.align(), *align), *tower)) return;
  throw runtime::UsageError(
      fmt::format("distill.{0}.head is \"teacher\": its first teacher has to be a ridge.NAME that reads the whitened "
                  "features of a tower, and distill.{0}.from an align.NAME to this tower; they are {1} and {2}",
                  name, distill.teachers(0), distill.from()));
}

Projector projector_of(const run::Context& context, const config::Distill& distill) {
  const auto tower = teachers_towers(context.config, distill).front();
  const auto align = name_in(distill.from(), "align");
  CSKD_CHECK(tower && align, "{} has no head that could be taken over", distill.teachers(0));
  const auto rows = rows_of(context.config, config::table_named(context.config.align(), *align), *tower);
  CSKD_CHECK(rows.has_value(), "{} is not aligned to {}", distill.from(), *tower);
  const models::StoredModel stored = inference::read_stage_model(context, distill.from());
  const auto part = [&](const char* name_of_part) {
    const std::string name = fmt::format("{}.{}", models::kProjector, name_of_part);
    const auto found = stored.tensors.find(name);
    if (found == stored.tensors.end() || found->second.size(0) < rows->first + rows->count)
      throw runtime::DataError(fmt::format("{} lacks the tensor '{}'", stored.path.native(), name));
    return found->second.narrow(0, rows->first, rows->count).to(at::kDouble);
  };
  return {.weight = part("weight"), .bias = part("bias")};
}

void take_over_head(models::HeadedEncoder& student, models::HeadedEncoder& teacher, const Projector& projector) {
  const auto head = [](models::HeadedEncoder& model, const char* part) {
    const auto tensors = model.state();
    const std::string name = fmt::format("{}.{}", models::kScoreHead, part);
    const auto found = std::ranges::find(tensors, name, &std::pair<std::string, at::Tensor>::first);
    CSKD_CHECK(found != tensors.end(), "no {}", name);
    return found->second;
  };
  const torch::NoGradGuard no_gradients;
  const at::Tensor weight = head(teacher, "weight").to(at::kCPU, at::kDouble);
  const at::Tensor bias = head(teacher, "bias").to(at::kCPU, at::kDouble);
  head(student, "weight").copy_(torch::matmul(weight, projector.weight));
  head(student, "bias").copy_(torch::mv(weight, projector.bias) + bias);
}

}  // namespace cskd::stages
