// A network's forward pass as a list of operations: what an exporter translates.
//
// Note [Recorded twice]
// LibTorch's tracer writes down which operations a forward pass consists of, with sizes as plain numbers. Which of them
// stand for the number of images is not to be seen in one recording. So the pass is recorded with batches of two and of
// three: what is the same in both is part of the network, and what is twice or thrice something is a number of images.
// Operations whose inputs are all part of the network are computed at once, and their results become constants.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include <ATen/core/Tensor.h>

namespace cskd::exporting {

// A dimension: `size`, or that for each image.
struct Dimension {
  std::int64_t size = 0;
  bool is_of_batch = false;
  bool operator==(const Dimension&) const = default;
};
using Shape = std::vector<Dimension>;

struct Value {
  Shape shape;
  at::ScalarType type = at::kFloat;
  std::optional<at::Tensor> constant;
};

// A number of a value in Recording::values, or of several; or what does not depend on the images.
struct ValueNumber {
  std::size_t number = 0;
};
using Argument = std::variant<std::monostate, ValueNumber, std::vector<ValueNumber>, double, std::int64_t, bool,
                              std::string, std::vector<std::int64_t>, std::vector<double>, std::vector<bool>>;

struct Operation {
  std::string name;  // LibTorch's, without overload: "convolution"
  std::vector<Argument> arguments;
  std::vector<std::size_t> outputs;  // values

  bool has(std::size_t argument) const;  // whether it is there and not None
  // Throw DataError, naming the operation, where an argument is not of this kind.
  std::size_t value(std::size_t argument) const;
  std::vector<std::size_t> values(std::size_t argument) const;
  std::int64_t integer(std::size_t argument) const;
  double number(std::size_t argument) const;  // also of an integer
  bool truth(std::size_t argument) const;
  std::vector<std::int64_t> integers(std::size_t argument) const;
  std::string text(std::size_t argument) const;
};

struct Recording {
  std::vector<Value> values;
  std::vector<Operation> operations;  // in their order; each is needed for an output
  std::size_t input = 0;
  std::vector<std::size_t> outputs;

  // Computes the network for kRecordedImages images: its outputs. `change` sees every value, constants too, and gives
  // the one that is computed with: what an exporter asks to learn the range of numbers, and to try what rounding does.
  using Change = std::function<at::Tensor(std::size_t value, const at::Tensor& tensor)>;
  std::function<std::vector<at::Tensor>(const at::Tensor& images, const Change& change)> compute;
};

// Operations from this one on compute in float32 whatever a file's numbers are: the last softmax, whose distribution is
// the result, and what is made of it. Their number where there is none.
std::size_t first_exact_operation(const Recording& recording);

inline constexpr std::int64_t kRecordedImages = 3;

using Network = std::function<std::vector<at::Tensor>(const at::Tensor& images)>;

// `like`: images [n, ...] of the type and size that the network takes; n does not matter. The network computes on the
// CPU, in evaluation mode, its parameters without gradients. Throws DataError when a pass depends on the number of
// images in another way than by its dimensions.
Recording record(const Network& network, const at::Tensor& like);

// Multiply-accumulate operations of convolutions and matrix products, for one image.
double multiplications(const Recording& recording);

}  // namespace cskd::exporting
