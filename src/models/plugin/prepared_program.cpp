#include "models/plugin/prepared_program.h"

#include <algorithm>
#include <map>
#include <set>
#include <utility>

#include "models/plugin/operation.h"
#include "models/plugin/simplification.h"

namespace cskd::models {
namespace {

// A call is fixed if nothing that it reads ever changes; unless a later one would write into such a value.
void mark_fixed(PreparedProgram& prepared, const std::vector<Operation>& operations,
                const std::set<std::string>& statistics) {
  std::vector<bool> changes(static_cast<std::size_t>(prepared.values), false);
  for (const Input& input : prepared.inputs) {
    changes[static_cast<std::size_t>(input.value)] =
        input.kind == InputKind::kParameter || input.kind == InputKind::kImages || statistics.contains(input.name);
  }
  bool writes_into_fixed = false;
  for (std::size_t i = 0; i < prepared.calls.size(); ++i) {
    Call& call = prepared.calls[i];
    const bool reads_what_changes =
        std::ranges::any_of(read_values(call), [&](Value value) { return changes[static_cast<std::size_t>(value)]; });
    const OperatorRule* const rule = operations[i].rule;
    if (rule != nullptr && rule->kind == OperatorKind::kInPlace)
      writes_into_fixed = writes_into_fixed || !changes[static_cast<std::size_t>(*first_tensor(operations[i].node))];
    call.is_fixed = call.op && !call.training && !reads_what_changes;
    if (call.is_fixed) continue;
    for (const Value value : made_values(operations[i].node)) changes[static_cast<std::size_t>(value)] = true;
  }
  if (!writes_into_fixed) return;
  for (Call& call : prepared.calls) call.is_fixed = false;
}

// Inputs in the order in which calls first use them, so that gradients come in the reverse order, as Note [Bucket
// order] wants them. A model may have parts that its forward pass does without, a classifier: they get no gradient, and
// no place.
void order_inputs(PreparedProgram& prepared) {
  std::map<Value, std::size_t> first_use;
  for (std::size_t i = 0; i < prepared.calls.size(); ++i)
    for (const Value value : read_values(prepared.calls[i])) first_use.emplace(value, i);
  for (const Value output : prepared.outputs) first_use.emplace(output, prepared.calls.size());
  std::vector<Input> inputs;
  for (Input& input : prepared.inputs) {
    if (input.kind == InputKind::kImages || first_use.contains(input.value)) {
      inputs.push_back(std::move(input));
    } else {
      prepared.unused.push_back(std::move(input.name));
    }
  }
  std::ranges::stable_sort(inputs, {}, [&](const Input& input) { return first_use[input.value]; });
  prepared.inputs = std::move(inputs);
}

}  // namespace

void let_go(PreparedProgram& prepared) {
  std::set<Value> kept(prepared.outputs.begin(), prepared.outputs.end());
  for (const Input& input : prepared.inputs) kept.insert(input.value);
  std::set<Value> seen;
  for (Call& call : prepared.calls) call.dead.clear();
  for (auto call = prepared.calls.rbegin(); call != prepared.calls.rend(); ++call) {
    if (call->is_fixed) continue;  // its results live on
    std::vector<Value> values = read_values(*call);
    for (const Node::Output& output : call->outputs)
      values.insert(values.end(), output.values.begin(), output.values.end());
    for (const Value value : values)
      if (!kept.contains(value) && seen.insert(value).second) call->dead.push_back(value);
  }
}

PreparedProgram prepare_program(Program program, const std::string& origin) {
  std::vector<Operation> operations = find_operations(program, origin);
  const std::set<std::string> statistics = running_statistics(program, operations, origin);
  simplify(operations, program, origin);
  PreparedProgram prepared{.inputs = std::move(program.inputs),
                           .outputs = std::move(program.outputs),
                           .output_shapes = std::move(program.output_shapes),
                           .values = program.values,
                           .statistics = {statistics.begin(), statistics.end()}};
  for (const Operation& operation : operations) prepared.calls.push_back(make_call(operation, origin));
  mark_fixed(prepared, operations, statistics);
  let_go(prepared);
  order_inputs(prepared);
  return prepared;
}

}  // namespace cskd::models
