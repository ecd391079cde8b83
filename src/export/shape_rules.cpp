#include <limits>
#include <numeric>

#include <ATen/ATen.h>

#include "export/translator.h"

namespace cskd::exporting {
namespace {

void to_identity(Translator& to, const Operation& operation) {
  const Value& before = to.value(operation.value(0));
  const Value& after = to.value(operation.outputs.at(0));
  if (before.type == after.type) return to.same(operation, to.first(operation));
  const bool is_half = after.type == at::kFloat && to.graph().floats() == FloatType::kFloat16;
  const std::size_t output = operation.outputs[0];
  to.know(output, to.graph().cast(to.first(operation), is_half ? at::kHalf : after.type, value_name(output)));
}

void to_reshape(Translator& to, const Operation& operation) {
  const std::size_t output = operation.outputs.at(0);
  to.know(output, to.reshaped(operation, to.first(operation), to.shape(operation.value(0)), to.shape(output),
                              value_name(output)));
}

void to_expand(Translator& to, const Operation& operation) {
  const Shape& before = to.shape(operation.value(0));
  const Shape& after = to.shape(operation.outputs.at(0));
  if (before == after) return to.same(operation, to.first(operation));
  std::vector<std::string> parts;
  for (std::size_t i = 0; i < after.size(); ++i) {
    const std::size_t missing = after.size() - before.size();
    const bool is_kept = i >= missing && before[i - missing] == after[i];
    if (is_kept) {
      parts.push_back(to.graph().integers({1}));
    } else if (!after[i].is_of_batch) {
      parts.push_back(to.graph().integers({after[i].size}));
    } else {
      parts.push_back(after[i].size == 1 ? to.images()
                                         : to.graph().add("Mul", {to.images(), to.graph().integers({after[i].size})}));
    }
  }
  to.give(operation, "Expand", {to.first(operation), to.graph().add("Concat", parts, {{"axis", std::int64_t{0}}})});
}

void to_transpose(Translator& to, const Operation& operation) {
  const std::int64_t dimensions = to.rank(operation.value(0));
  Integers order(static_cast<std::size_t>(dimensions));
  std::iota(order.begin(), order.end(), 0);
  const bool is_short = operation.name == "t" || operation.name == "t_";
  const std::int64_t one = is_short ? 0 : Translator::axis(operation, 1, dimensions);
  const std::int64_t other = is_short ? 1 : Translator::axis(operation, 2, dimensions);
  if (dimensions < 2) return to.same(operation, to.first(operation));
  std::swap(order[static_cast<std::size_t>(one)], order[static_cast<std::size_t>(other)]);
  to.give(operation, "Transpose", {to.first(operation)}, {{"perm", order}});
}

void to_permute(Translator& to, const Operation& operation) {
  to.give(operation, "Transpose", {to.first(operation)}, {{"perm", to.axes(operation, 1)}});
}

void to_concat(Translator& to, const Operation& operation) {
  std::vector<std::string> parts;
  for (const std::size_t value : operation.values(0)) parts.push_back(to.name(value));
  to.give(operation, "Concat", parts, {{"axis", Translator::axis(operation, 1, to.rank(operation.outputs.at(0)))}});
}

void to_stack(Translator& to, const Operation& operation) {
  const std::int64_t along = Translator::axis(operation, 1, to.rank(operation.outputs.at(0)));
  std::vector<std::string> parts;
  for (const std::size_t value : operation.values(0))
    parts.push_back(to.graph().add("Unsqueeze", {to.name(value), to.graph().integers({along})}));
  to.give(operation, "Concat", parts, {{"axis", along}});
}

std::string sliced(Translator& to, const std::string& value, std::int64_t along, std::int64_t begin, std::int64_t end,
                   std::int64_t step) {
  OnnxGraph& graph = to.graph();
  return graph.add("Slice", {value, graph.integers({begin}), graph.integers({end}), graph.integers({along}),
                             graph.integers({step})});
}

void to_slice(Translator& to, const Operation& operation) {
  const Shape& shape = to.shape(operation.value(0));
  const std::int64_t along = Translator::axis(operation, 1, to.rank(operation.value(0)));
  const std::int64_t begin = operation.has(2) ? operation.integer(2) : 0;
  const std::int64_t end = operation.has(3) ? operation.integer(3) : std::numeric_limits<std::int64_t>::max();
  if (shape == to.shape(operation.outputs.at(0))) return to.same(operation, to.first(operation));
  require(operation, !shape[static_cast<std::size_t>(along)].is_of_batch, "takes some of the images");
  to.same(operation, sliced(to, to.first(operation), along, begin, end, operation.has(4) ? operation.integer(4) : 1));
}

void to_select(Translator& to, const Operation& operation) {
  const std::size_t input = operation.value(0);
  const std::int64_t along = Translator::axis(operation, 1, to.rank(input));
  require(operation, !to.shape(input)[static_cast<std::size_t>(along)].is_of_batch, "takes one of the images");
  const std::int64_t index = operation.integer(2);
  const std::int64_t end = index == -1 ? std::numeric_limits<std::int64_t>::max() : index + 1;
  to.give(operation, "Squeeze", {sliced(to, to.first(operation), along, index, end, 1), to.graph().integers({along})});
}

void to_unbind(Translator& to, const Operation& operation) {
  const std::int64_t along = Translator::axis(operation, 1, to.rank(operation.value(0)));
  std::vector<std::string> parts;
  for (const std::size_t output : operation.outputs) parts.push_back(value_name(output) + "_kept");
  to.graph().add_node("Split", {to.first(operation)}, parts, {{"axis", along}});
  for (std::size_t i = 0; i < parts.size(); ++i) {
    to.know(operation.outputs[i],
            to.graph().add("Squeeze", {parts[i], to.graph().integers({along})}, {}, value_name(operation.outputs[i])));
  }
}

void to_gather(Translator& to, const Operation& operation) {
  to.give(operation, "Gather", {to.first(operation), to.name(operation.value(2))},
          {{"axis", Translator::axis(operation, 1, to.rank(operation.value(0)))}});
}

}  // namespace

const std::map<std::string, Rule>& rules_of_shape() {
  static const std::map<std::string, Rule> table{
      {"cat", to_concat},          {"clone", to_identity},  {"contiguous", to_identity}, {"detach", to_identity},
      {"dropout", to_identity},    {"expand", to_expand},   {"flatten", to_reshape},     {"index_select", to_gather},
      {"permute", to_permute},     {"reshape", to_reshape}, {"select", to_select},       {"slice", to_slice},
      {"squeeze", to_reshape},     {"stack", to_stack},     {"t", to_transpose},         {"to", to_identity},
      {"transpose", to_transpose}, {"unbind", to_unbind},   {"unflatten", to_reshape},   {"unsqueeze", to_reshape},
      {"view", to_reshape},
  };
  return table;
}

}  // namespace cskd::exporting
