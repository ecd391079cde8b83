// A node of a program with its operator.
#pragma once

#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "models/plugin/operators.h"
#include "models/plugin/program.h"
#include "runtime/error.h"

namespace cskd::models {

struct Operation {
  Node node;
  const OperatorRule* rule = nullptr;  // null: of whole numbers
  std::string overload;                // "" for the default one
  bool was_in_place = false;
};

// "<origin>: the program cannot be run: <reason>".
runtime::DataError unusable_program(const std::string& origin, const std::string& reason);

// The operations of a program, whose nodes are left empty. Throws DataError for an operator that may not be called.
std::vector<Operation> find_operations(Program& program, const std::string& origin);

// The buffers that are running statistics of batch normalisation. Throws DataError for a program of training mode, and
// for statistics under names that cskd does not know (is_statistic()).
std::set<std::string> running_statistics(const Program& program, const std::vector<Operation>& operations,
                                         const std::string& origin);

// Values that it reads, also within lists; that it makes.
std::vector<Value> read_values(const Node& node);
std::vector<Value> made_values(const Node& node);

// Null where there is none of this name.
const Argument* find_argument(const Node& node, std::string_view name);

// The tensor that a view, or an operator in place, works on.
std::optional<Value> first_tensor(const Node& node);

// Every value of the argument replaced by renamed[value].
void rename(ArgumentValue& argument, const std::vector<Value>& renamed);

// Text that is the same for the same argument, and for no other.
std::string text_of(const ArgumentValue& argument);

}  // namespace cskd::models
