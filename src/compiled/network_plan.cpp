#include "compiled/network_plan.h"

#include <algorithm>
#include <array>
#include <limits>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <tuple>
#include <utility>
#include <variant>

#include <ATen/ATen.h>
#include <fmt/format.h>

#include "runtime/error.h"

namespace cskd::compiled {
namespace {

using exporting::Operation;
using exporting::Recording;
using exporting::Shape;
using exporting::ValueNumber;

constexpr float kInfinity = std::numeric_limits<float>::infinity();

// Zeros around a map: above, below, left, right.
using Zeros = std::array<std::uint32_t, 4>;

[[noreturn]] void refuse(const Operation& operation, const char* what) {
  throw runtime::DataError(fmt::format("the network is not compiled: its operation '{}' {}", operation.name, what));
}

void require(const Operation& operation, bool is_so, const char* what) {
  if (!is_so) refuse(operation, what);
}

std::uint32_t positive(const Operation& operation, std::int64_t value) {
  require(operation, value >= 0 && value <= std::numeric_limits<std::int32_t>::max(), "has a size out of range");
  return static_cast<std::uint32_t>(value);
}

// Of rows and of columns, for which one number may stand.
std::pair<std::uint32_t, std::uint32_t> both(const Operation& operation, std::size_t argument) {
  const std::vector<std::int64_t> given = operation.integers(argument);
  return {positive(operation, given.front()), positive(operation, given.back())};
}

class Planner {
 public:
  Planner(const Recording& recording, const FirstStep& make_first) : recording_(recording) {
    for (const Operation& operation : recording.operations) {
      for (const exporting::Argument& argument : operation.arguments) {
        if (const auto* value = std::get_if<ValueNumber>(&argument)) readers_[value->number].push_back(&operation);
        if (const auto* values = std::get_if<std::vector<ValueNumber>>(&argument))
          for (const ValueNumber& each : *values) readers_[each.number].push_back(&operation);
      }
    }
    for (const std::size_t output : recording.outputs) readers_[output].push_back(nullptr);
    const std::size_t input = new_map(size_of(recording.input));
    known_[recording.input] = input;
    plan_.steps.push_back(make_first(input, sizes_[input]));
  }

  NetworkPlan run() {
    for (const Operation& operation : recording_.operations) {
      if (!done_.contains(&operation)) translate(operation);
    }
    plan_.output = map_of(recording_.outputs.front());
    if (const MapSize& size = sizes_[plan_.output]; size.height * size.width != 1)
      throw runtime::DataError("the network is not compiled: its output is not one vector of each image");
    plan_.width = sizes_[plan_.output].channels;
    plan_.maps[plan_.output].last = plan_.steps.size();
    return std::move(plan_);
  }

 private:
  using Rule = void (Planner::*)(const Operation&);

  void translate(const Operation& operation) {
    static const std::map<std::string, Rule> rules{
        {"_convolution", &Planner::convolution},
        {"adaptive_avg_pool2d", &Planner::adaptive_pool},
        {"add", &Planner::add},
        {"addcmul", &Planner::add_product},
        {"addmm", &Planner::addmm},
        {"clamp", &Planner::clamp},
        {"constant_pad_nd", &Planner::pad},
        {"flatten", &Planner::reshape},
        {"gelu", &Planner::gelu},
        {"hardsigmoid", &Planner::hard_sigmoid},
        {"hardswish", &Planner::hard_swish},
        {"hardtanh", &Planner::clamp},
        {"linear", &Planner::linear},
        {"max_pool2d", &Planner::max_pool},
        {"mean", &Planner::mean},
        {"mul", &Planner::multiply},
        {"pad", &Planner::pad},
        {"relu", &Planner::relu},
        {"reshape", &Planner::reshape},
        {"sigmoid", &Planner::sigmoid},
        {"silu", &Planner::silu},
        {"squeeze", &Planner::reshape},
        {"unsqueeze", &Planner::reshape},
        {"view", &Planner::reshape},
    };
    const auto rule = rules.find(plain(operation.name));
    require(operation, rule != rules.end(), "has no step");
    (this->*rule->second)(operation);
  }

  // An operation that changes in place has the name of the one that does not, and "_".
  static std::string plain(std::string name) {
    while (name.ends_with('_')) name.pop_back();
    return name;
  }

  // Sizes and numbers of maps.

  MapSize size_of(std::size_t value) const {
    const Shape& shape = recording_.values[value].shape;
    const bool is_map = shape.size() == 4 || shape.size() == 2;
    if (!is_map || !shape[0].is_of_batch)
      throw runtime::DataError("the network is not compiled: a value is neither a map nor a vector of each image");
    const auto size = [&](std::size_t i) { return static_cast<std::size_t>(shape[i].size); };
    return shape.size() == 2 ? MapSize{.channels = size(1)}
                             : MapSize{.height = size(2), .width = size(3), .channels = size(1)};
  }

  std::size_t new_map(const MapSize& size) {
    const std::size_t step = plan_.steps.size();
    plan_.maps.push_back({.numbers = size.numbers(), .first = step, .last = step});
    sizes_.push_back(size);
    return plan_.maps.size() - 1;
  }

  std::size_t map_of(std::size_t value) const {
    const auto found = known_.find(value);
    if (found == known_.end()) throw runtime::DataError("the network is not compiled: a constant takes a map's place");
    return found->second;
  }

  // A map that the next step reads.
  std::size_t read(const Operation& operation, std::size_t argument) {
    const std::size_t value = operation.value(argument);
    require(operation, !padded_.contains(value), "reads what is padded for convolutions");
    const std::size_t map = map_of(value);
    plan_.maps[map].last = plan_.steps.size();
    return map;
  }

  // The map that the next step writes, which is the operation's output.
  std::size_t write(const Operation& operation) {
    return known_[operation.outputs[0]] = new_map(output_size(operation));
  }
  MapSize output_size(const Operation& operation) const { return size_of(operation.outputs[0]); }

  void push(std::unique_ptr<Step> step) { plan_.steps.push_back(std::move(step)); }

  const at::Tensor* constant(const Operation& operation, std::size_t argument) const {
    if (argument >= operation.arguments.size() || !std::holds_alternative<ValueNumber>(operation.arguments[argument]))
      return nullptr;
    const auto& found = recording_.values[operation.value(argument)].constant;
    return found ? &*found : nullptr;
  }

  const at::Tensor& weights(const Operation& operation, std::size_t argument) const {
    const at::Tensor* const found = constant(operation, argument);
    require(operation, found != nullptr, "has weights that depend on the images");
    return *found;
  }

  // Convolutions and products.

  // What bounds the operation's only reader sets, if it is one that does nothing else: it is done with then.
  Bounds taken_bounds(std::size_t& output) {
    const auto& readers = readers_[output];
    if (readers.size() != 1 || readers.front() == nullptr) return kUnbounded;
    const std::optional<Bounds> bounds = bounds_of(*readers.front());
    if (!bounds) return kUnbounded;
    done_.insert(readers.front());
    output = readers.front()->outputs[0];
    return *bounds;
  }

  std::optional<Bounds> bounds_of(const Operation& operation) const {
    const std::string name = plain(operation.name);
    if (name == "relu") return Bounds{0, kInfinity};
    if (name != "clamp" && name != "hardtanh") return std::nullopt;
    const auto number = [&](std::size_t argument, float otherwise) {
      return operation.has(argument) ? static_cast<float>(operation.number(argument)) : otherwise;
    };
    return name == "clamp" ? Bounds{number(1, -kInfinity), number(2, kInfinity)} : Bounds{number(1, -1), number(2, 1)};
  }

  void convolution(const Operation& operation) {
    require(operation, !operation.truth(6), "is transposed");
    const at::Tensor& weight = weights(operation, 1);
    require(operation, weight.dim() == 4, "is not one of pictures");
    std::size_t input = operation.value(0);
    Zeros zeros{};
    if (const auto padded = padded_.find(input); padded != padded_.end()) {
      input = padded->second.value;
      zeros = padded->second.zeros;
    }
    const auto [rows, columns] = both(operation, 4);
    Window window{.kernel_height = positive(operation, weight.size(2)),
                  .kernel_width = positive(operation, weight.size(3)),
                  .top = zeros[0] + rows,
                  .bottom = zeros[1] + rows,
                  .left = zeros[2] + columns,
                  .right = zeros[3] + columns};
    std::tie(window.stride_height, window.stride_width) = both(operation, 3);
    std::tie(window.dilation_height, window.dilation_width) = both(operation, 5);
    const auto groups = static_cast<std::size_t>(operation.integer(8));
    multiply_by(operation, input, window, groups, weight, operation.has(2) ? weights(operation, 2) : at::Tensor());
  }

  void multiply_by(const Operation& operation, std::size_t input, const Window& window, std::size_t groups,
                   const at::Tensor& weight, const at::Tensor& bias) {
    const std::size_t from = map_of(input);
    plan_.maps[from].last = plan_.steps.size();
    std::size_t output = operation.outputs[0];
    const Bounds bounds = taken_bounds(output);
    const std::size_t to = known_[output] = new_map(size_of(output));
    push(convolution_step({from, to}, sizes_[from], window, groups, weight, bias, bounds));
  }

  // linear(x, w, bias): w [m, k]
  void linear(const Operation& operation) {
    require(operation, sizes_[map_of(operation.value(0))].height == 1, "is one of maps");
    const at::Tensor& weight = weights(operation, 1);
    multiply_by(operation, operation.value(0), {}, 1, weight.view({weight.size(0), weight.size(1), 1, 1}),
                operation.has(2) ? weights(operation, 2) : at::Tensor());
  }

  // addmm(bias, x, w, *, beta, alpha): w [k, m]
  void addmm(const Operation& operation) {
    for (const std::size_t factor : {3, 4})
      require(operation, !operation.has(factor) || operation.number(factor) == 1, "has factors");
    const at::Tensor weight = weights(operation, 2).t().contiguous();
    multiply_by(operation, operation.value(1), {}, 1, weight.view({weight.size(0), weight.size(1), 1, 1}),
                weights(operation, 0));
  }

  // constant_pad_nd(x, [left, right, top, bottom], value) and pad(x, [...], "constant", value): of convolutions behind.
  void pad(const Operation& operation) {
    const std::vector<std::int64_t> around = operation.integers(1);
    const std::size_t last = operation.arguments.size() - 1;
    const bool is_zero = last < 2 || !operation.has(last) ||
                         std::holds_alternative<std::string>(operation.arguments[last]) || operation.number(last) == 0;
    require(operation, around.size() == 4 && is_zero, "does not put zeros around a map");
    for (const Operation* const reader : readers_[operation.outputs[0]])
      require(operation, reader != nullptr && plain(reader->name) == "_convolution", "pads for something else");
    padded_[operation.outputs[0]] = {operation.value(0),
                                     {positive(operation, around[2]), positive(operation, around[3]),
                                      positive(operation, around[0]), positive(operation, around[1])}};
  }

  // Activations, sums, gates.

  void unary(const Operation& operation, xnn_unary_operator kind, const Bounds& clamp = kUnbounded) {
    const std::size_t from = read(operation, 0);
    const std::size_t to = write(operation);
    push(unary_step({from, to}, sizes_[to], kind, clamp));
  }

  void hard_swish(const Operation& operation) { unary(operation, xnn_unary_hardswish); }
  void sigmoid(const Operation& operation) { unary(operation, xnn_unary_sigmoid); }
  void relu(const Operation& operation) { unary(operation, xnn_unary_clamp, *bounds_of(operation)); }
  void clamp(const Operation& operation) { unary(operation, xnn_unary_clamp, *bounds_of(operation)); }

  void gelu(const Operation& operation) {
    require(operation, !operation.has(1) || operation.text(1) == "none", "is approximated");
    unary(operation, xnn_unary_gelu);
  }

  void hard_sigmoid(const Operation& operation) {
    const std::size_t from = read(operation, 0);
    const std::size_t to = write(operation);
    push(hard_sigmoid_step({from, to}, sizes_[to]));
  }

  void silu(const Operation& operation) {
    std::size_t from = read(operation, 0);
    const std::size_t gate = new_map(sizes_[from]);
    push(unary_step({from, gate}, sizes_[from], xnn_unary_sigmoid));
    from = read(operation, 0);
    plan_.maps[gate].last = plan_.steps.size();
    const std::size_t to = write(operation);
    push(binary_step(from, gate, to, sizes_[to], xnn_binary_multiply));
  }

  // op(x, y, alpha)
  void add(const Operation& operation) {
    require(operation, !operation.has(2) || operation.number(2) == 1, "has a factor");
    binary(operation, xnn_binary_add);
  }

  void binary(const Operation& operation, xnn_binary_operator kind) {
    require(operation, std::holds_alternative<ValueNumber>(operation.arguments.at(1)), "is one with a number");
    const std::size_t first = read(operation, 0);
    const std::size_t second = read(operation, 1);
    require(operation, sizes_[first] == sizes_[second], "is one of maps of different sizes");
    const std::size_t to = write(operation);
    push(binary_step(first, second, to, sizes_[to], kind));
  }

  // Factors of channels [C, 1, 1], [1, C, 1, 1] or [1].
  std::vector<float> channel_factors(const Operation& operation, const at::Tensor& factors,
                                     std::size_t channels) const {
    const bool are_of_channels = factors.numel() == 1 || (factors.numel() == static_cast<std::int64_t>(channels) &&
                                                          factors.dim() >= 3 && factors.size(-3) == factors.numel());
    require(operation, are_of_channels, "has factors that are not those of channels");
    const at::Tensor flat =
        factors.to(at::kFloat).reshape({-1}).expand({static_cast<std::int64_t>(channels)}).contiguous();
    return {flat.const_data_ptr<float>(), flat.const_data_ptr<float>() + channels};
  }

  void multiply(const Operation& operation) {
    const MapSize size = output_size(operation);
    for (const std::size_t factors : {0, 1}) {
      const std::size_t other = 1 - factors;
      if (!std::holds_alternative<ValueNumber>(operation.arguments.at(factors))) {
        const at::Tensor number = at::scalar_tensor(operation.number(factors));
        return scale(operation, other, channel_factors(operation, number, size.channels));
      }
      if (const at::Tensor* const given = constant(operation, factors))
        return scale(operation, other, channel_factors(operation, *given, size.channels));
    }
    const MapSize gate{.channels = size.channels};
    for (const std::size_t factors : {1, 0}) {
      const std::size_t map = map_of(operation.value(factors));
      if (sizes_[map] != gate || size == gate) continue;
      const std::size_t from = read(operation, 1 - factors);
      read(operation, factors);
      const std::size_t to = write(operation);
      return push(scale_step({from, to}, size, map));
    }
    binary(operation, xnn_binary_multiply);
  }

  void scale(const Operation& operation, std::size_t argument, std::vector<float> factors) {
    const std::size_t from = read(operation, argument);
    const std::size_t to = write(operation);
    push(scale_step({from, to}, sizes_[to], std::move(factors)));
  }

  // addcmul(x, y, factors, *, value): x + value * y * factors
  void add_product(const Operation& operation) {
    require(operation, !operation.has(3) || operation.number(3) == 1, "has a factor");
    const MapSize size = output_size(operation);
    const at::Tensor* const factors = constant(operation, 2);
    require(operation, factors != nullptr, "has factors that depend on the images");
    const std::size_t from = read(operation, 1);
    const std::size_t product = new_map(size);
    push(scale_step({from, product}, size, channel_factors(operation, *factors, size.channels)));
    const std::size_t first = read(operation, 0);
    plan_.maps[product].last = plan_.steps.size();
    const std::size_t to = write(operation);
    push(binary_step(first, product, to, size, xnn_binary_add));
  }

  // Pools and shapes.

  void mean_of_places(const Operation& operation) {
    const std::size_t from = read(operation, 0);
    const std::size_t to = write(operation);
    push(mean_step({from, to}, sizes_[from]));
  }

  void mean(const Operation& operation) {
    std::vector<std::int64_t> axes = operation.integers(1);
    for (std::int64_t& axis : axes) axis += axis < 0 ? 4 : 0;
    std::ranges::sort(axes);
    const bool is_of_places =
        recording_.values[operation.value(0)].shape.size() == 4 && axes == std::vector<std::int64_t>{2, 3};
    require(operation, is_of_places, "is not one over places");
    mean_of_places(operation);
  }

  void adaptive_pool(const Operation& operation) {
    require(operation, output_size(operation).height == 1 && output_size(operation).width == 1, "keeps places");
    mean_of_places(operation);
  }

  // max_pool2d(x, kernel, stride, padding, dilation, ceil_mode)
  void max_pool(const Operation& operation) {
    require(operation, !operation.truth(5), "rounds its size up");
    Window window;
    std::tie(window.kernel_height, window.kernel_width) = both(operation, 1);
    std::tie(window.stride_height, window.stride_width) = both(operation, operation.integers(2).empty() ? 1 : 2);
    std::tie(window.dilation_height, window.dilation_width) = both(operation, 4);
    std::tie(window.top, window.left) = both(operation, 3);
    window.bottom = window.top;
    window.right = window.left;
    const std::size_t from = read(operation, 0);
    const std::size_t to = write(operation);
    push(max_pool_step({from, to}, sizes_[from], window));
  }

  // Of vectors, which are maps of one place, nothing changes in memory.
  void reshape(const Operation& operation) {
    const std::size_t map = map_of(operation.value(0));
    require(operation, output_size(operation) == sizes_[map], "changes a map's shape");
    known_[operation.outputs[0]] = map;
  }

  struct Padded {
    std::size_t value = 0;
    Zeros zeros{};
  };

  const Recording& recording_;
  NetworkPlan plan_;
  std::vector<MapSize> sizes_;                                    // of maps
  std::map<std::size_t, std::size_t> known_;                      // maps of values
  std::map<std::size_t, Padded> padded_;                          // values that are others with zeros around
  std::map<std::size_t, std::vector<const Operation*>> readers_;  // of values; null: the network's output
  std::set<const Operation*> done_;                               // that are parts of steps before them
};

}  // namespace

NetworkPlan plan_network(const Recording& recording, const FirstStep& make_first) {
  return Planner(recording, make_first).run();
}

}  // namespace cskd::compiled
