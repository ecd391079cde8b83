#include "models/plugin/simplification.h"

#include <algorithm>
#include <map>
#include <numeric>
#include <set>
#include <string_view>
#include <utility>

#include <fmt/format.h>

#include "models/safetensors_header.h"
#include "runtime/check.h"

namespace cskd::models {
namespace {

class Simplification {
 public:
  Simplification(std::vector<Operation>& operations, Program& program, const std::string& origin)
      : operations_(operations), program_(program), origin_(origin) {
    renamed_.resize(static_cast<std::size_t>(program_.values));
    std::iota(renamed_.begin(), renamed_.end(), 0);
  }

  void run() {
    leave_out_dropout();
    if (!leave_places()) return;
    merge();
    keep_needed();
    return_to_places();
    reshape();
  }

 private:
  // Steps of Note [How a program is simplified], in their order.
  void leave_out_dropout() {
    std::erase_if(operations_, [this](Operation& operation) {
      for (Argument& argument : operation.node.arguments) rename(argument.value, renamed_);
      if (is_of(operation, OperatorKind::kAssertion)) return true;
      const Argument* const p = find_argument(operation.node, "p");
      const std::optional<Value> first = first_tensor(operation.node);
      const std::vector<Value> results = made_values(operation.node);
      if (!is_of(operation, OperatorKind::kDropout) || p == nullptr || text_of(p->value) != text_of(0.0) || !first ||
          results.size() != 1)
        return false;
      renamed_[static_cast<std::size_t>(results.front())] = *first;
      return true;
    });
    rename_outputs();
  }

  // Whether no tensor is changed any more.
  bool leave_places() {
    const auto count = static_cast<std::size_t>(program_.values);
    std::set<Value> inputs;
    for (const Input& input : program_.inputs) inputs.insert(input.value);
    std::vector<bool> is_fresh(count, false);  // made by an operator that gave it memory of its own
    std::vector<bool> has_views(count, false);
    std::vector<Value> owner(count);  // of a view: whose memory it may be
    std::iota(owner.begin(), owner.end(), 0);
    bool is_free = true;
    for (const Operation& operation : operations_) {
      if (operation.rule == nullptr) continue;
      const std::optional<Value> first = first_tensor(operation.node);
      if (operation.rule->kind == OperatorKind::kInPlace) {
        if (!first || made_values(operation.node).size() != 1)
          throw unusable_program(origin_, fmt::format("{} changes no tensor", shown(operation.node.target)));
        const Value source = owner[static_cast<std::size_t>(*first)];
        if (inputs.contains(source))
          throw unusable_program(origin_,
                                 "it changes its images, a parameter or a buffer in place; write the model without");
        const auto at = static_cast<std::size_t>(*first);
        if (!is_fresh[at] || has_views[at]) is_free = false;
        for (const Value result : made_values(operation.node)) {
          is_fresh[static_cast<std::size_t>(result)] = is_fresh[at] && !has_views[at];
          owner[static_cast<std::size_t>(result)] = source;
        }
        continue;
      }
      // Dropout returns its argument while it does nothing.
      const bool may_share =
          operation.rule->kind == OperatorKind::kView || operation.rule->kind == OperatorKind::kDropout;
      for (const Value result : made_values(operation.node)) {
        const auto at = static_cast<std::size_t>(result);
        is_fresh[at] = !may_share;
        if (may_share && first) owner[at] = owner[static_cast<std::size_t>(*first)];
      }
      if (may_share) {
        for (const Value value : read_values(operation.node)) {
          has_views[static_cast<std::size_t>(value)] = true;
          has_views[static_cast<std::size_t>(owner[static_cast<std::size_t>(value)])] = true;
        }
      }
    }
    if (!is_free) return false;
    for (Operation& operation : operations_) {
      for (Argument& argument : operation.node.arguments) rename(argument.value, renamed_);
      if (operation.rule == nullptr || operation.rule->kind != OperatorKind::kInPlace) continue;
      // Whoever reads the changed tensor later reads the result.
      const Value old = *first_tensor(operation.node);
      for (Value& value : renamed_)
        if (value == old) value = made_values(operation.node).front();
      const std::string_view name = operation.rule->name;
      operation.rule = find_operator(name.substr(0, name.size() - 1));
      CSKD_CHECK(operation.rule != nullptr, "{} has no form that returns a new tensor", name);
      operation.was_in_place = true;
    }
    rename_outputs();
    return true;
  }

  void merge() {
    std::map<std::string, std::size_t> first;
    for (std::size_t i = 0; i < operations_.size(); ++i) {
      Node& node = operations_[i].node;
      for (Argument& argument : node.arguments) rename(argument.value, renamed_);
      if (is_of(operations_[i], OperatorKind::kDropout)) continue;
      std::string key = operations_[i].rule == nullptr
                            ? node.target
                            : fmt::format("{}.{}", operations_[i].rule->name, operations_[i].overload);
      for (const Argument& argument : node.arguments)
        key += fmt::format(" {}={}", argument.name, text_of(argument.value));
      const auto [found, is_new] = first.emplace(std::move(key), i);
      if (is_new) continue;
      const std::vector<Value> own = made_values(node);
      const std::vector<Value> earlier = made_values(operations_[found->second].node);
      if (own.size() != earlier.size())
        throw unusable_program(origin_, fmt::format("{} has results in two numbers", shown(node.target)));
      for (std::size_t k = 0; k < own.size(); ++k) renamed_[static_cast<std::size_t>(own[k])] = earlier[k];
    }
    rename_outputs();
  }

  void keep_needed() {
    std::set<Value> needed(program_.outputs.begin(), program_.outputs.end());
    for (auto operation = operations_.rbegin(); operation != operations_.rend(); ++operation) {
      const std::vector<Value> results = made_values(operation->node);
      if (std::ranges::none_of(results, [&](Value value) { return needed.contains(value); })) continue;
      for (const Value value : read_values(operation->node)) needed.insert(value);
    }
    std::erase_if(operations_, [&](const Operation& operation) {
      const std::vector<Value> results = made_values(operation.node);
      return std::ranges::none_of(results, [&](Value value) { return needed.contains(value); });
    });
  }

  void return_to_places() {
    std::map<Value, int> readers;
    for (const Operation& operation : operations_)
      for (const Value value : read_values(operation.node)) ++readers[value];
    for (const Value output : program_.outputs) ++readers[output];
    for (Operation& operation : operations_) {
      if (!operation.was_in_place || readers[*first_tensor(operation.node)] != 1) continue;
      operation.rule = find_operator(std::string(operation.rule->name) + "_");
    }
  }

  // A view becomes a reshape.
  void reshape() {
    for (Operation& operation : operations_) {
      if (operation.rule == nullptr || operation.rule->name != "view" || !operation.overload.empty()) continue;
      operation.rule = find_operator("reshape");
      for (Argument& argument : operation.node.arguments)
        if (argument.name == "size") argument.name = "shape";
    }
  }

  static bool is_of(const Operation& operation, OperatorKind kind) {
    return operation.rule != nullptr && operation.rule->kind == kind;
  }

  // From now on every value is read as itself.
  void rename_outputs() {
    for (Value& output : program_.outputs) output = renamed_[static_cast<std::size_t>(output)];
    std::iota(renamed_.begin(), renamed_.end(), 0);
  }

  std::vector<Operation>& operations_;
  Program& program_;
  const std::string& origin_;
  std::vector<Value> renamed_;  // what is read in place of a value
};

}  // namespace

void simplify(std::vector<Operation>& operations, Program& program, const std::string& origin) {
  Simplification(operations, program, origin).run();
}

}  // namespace cskd::models
