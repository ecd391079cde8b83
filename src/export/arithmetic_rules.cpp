#include <cmath>
#include <numbers>
#include <numeric>

#include <ATen/ATen.h>

#include "export/translator.h"

namespace cskd::exporting {
namespace {

constexpr char kRelu[] = "Relu";
constexpr char kSigmoid[] = "Sigmoid";
constexpr char kHardSwish[] = "HardSwish";
constexpr char kTanh[] = "Tanh";
constexpr char kExp[] = "Exp";
constexpr char kSqrt[] = "Sqrt";

constexpr std::size_t kPictureDimensions = 2;

// An argument for each dimension of a picture, for which one number may stand.
Integers spread(const Operation& operation, std::size_t argument, std::size_t dimensions) {
  Integers result = operation.integers(argument);
  if (result.size() == 1) result.resize(dimensions, result.front());
  return result;
}

// Before and behind, alike.
Integers pads(const Operation& operation, std::size_t argument, std::size_t dimensions) {
  Integers result = spread(operation, argument, dimensions);
  const Integers begin = result;
  result.insert(result.end(), begin.begin(), begin.end());
  return result;
}

void to_convolution(Translator& to, const Operation& operation) {
  require(operation, !operation.truth(6), "is transposed");
  const Shape& weight = to.shape(operation.value(1));
  Integers kernel;
  for (std::size_t i = 2; i < weight.size(); ++i) kernel.push_back(weight[i].size);
  std::vector<std::string> inputs{to.first(operation), to.name(operation.value(1))};
  if (operation.has(2)) inputs.push_back(to.name(operation.value(2)));
  to.give(operation, "Conv", inputs,
          {{"kernel_shape", kernel},
           {"strides", spread(operation, 3, kernel.size())},
           {"pads", pads(operation, 4, kernel.size())},
           {"dilations", spread(operation, 5, kernel.size())},
           {"group", operation.integer(8)}});
}

// addmm(bias, x, w, *, beta, alpha): x [n, k], w [k, m]
void to_gemm(Translator& to, const Operation& operation) {
  to.give(operation, "Gemm", {to.name(operation.value(1)), to.name(operation.value(2)), to.first(operation)},
          {{"alpha", operation.has(4) ? operation.number(4) : 1.0},
           {"beta", operation.has(3) ? operation.number(3) : 1.0}});
}

// linear(x, w, bias): w [m, k]
void to_linear(Translator& to, const Operation& operation) {
  const std::string weight = to.graph().constant(to.constant(operation, 1).t());
  if (!operation.has(2)) return to.give(operation, "MatMul", {to.first(operation), weight});
  to.give(operation, "Add", {to.graph().add("MatMul", {to.first(operation), weight}), to.name(operation.value(2))});
}

void to_matmul(Translator& to, const Operation& operation) {
  to.give(operation, "MatMul", {to.first(operation), to.name(operation.value(1))});
}

// op(x, y, alpha)
std::string scaled(Translator& to, const Operation& operation) {
  const std::string other = to.operand(operation, 1);
  if (!operation.has(2) || operation.number(2) == 1) return other;
  return to.graph().add("Mul", {other, to.graph().scalar(operation.number(2))});
}

void to_add(Translator& to, const Operation& operation) {
  to.give(operation, "Add", {to.first(operation), scaled(to, operation)});
}

void to_sub(Translator& to, const Operation& operation) {
  to.give(operation, "Sub", {to.first(operation), scaled(to, operation)});
}

void to_mul(Translator& to, const Operation& operation) {
  to.give(operation, "Mul", {to.first(operation), to.operand(operation, 1)});
}

void to_div(Translator& to, const Operation& operation) {
  to.give(operation, "Div", {to.first(operation), to.operand(operation, 1)});
}

void to_pow(Translator& to, const Operation& operation) {
  to.give(operation, "Pow", {to.first(operation), to.operand(operation, 1)});
}

void to_addcmul(Translator& to, const Operation& operation) {
  std::string product = to.graph().add("Mul", {to.name(operation.value(1)), to.name(operation.value(2))});
  if (operation.has(3) && operation.number(3) != 1)
    product = to.graph().add("Mul", {product, to.graph().scalar(operation.number(3))});
  to.give(operation, "Add", {to.first(operation), product});
}

template <const char* kKind>
void to_plain(Translator& to, const Operation& operation) {
  to.give(operation, kKind, {to.first(operation)});
}

void to_hard_sigmoid(Translator& to, const Operation& operation) {
  to.give(operation, "HardSigmoid", {to.first(operation)}, {{"alpha", 1.0 / 6}, {"beta", 0.5}});
}

void to_silu(Translator& to, const Operation& operation) {
  to.give(operation, "Mul", {to.first(operation), to.graph().add("Sigmoid", {to.first(operation)})});
}

void to_gelu(Translator& to, const Operation& operation) {
  require(operation, !operation.has(1) || operation.text(1) == "none", "is approximated");
  const std::string inner =
      to.graph().add("Erf", {to.graph().add("Mul", {to.first(operation), to.graph().scalar(1 / std::numbers::sqrt2)})});
  const std::string gate =
      to.graph().add("Mul", {to.graph().add("Add", {inner, to.graph().scalar(1)}), to.graph().scalar(0.5)});
  to.give(operation, "Mul", {to.first(operation), gate});
}

void to_clip(Translator& to, const Operation& operation) {
  const std::string low = operation.has(1) ? to.operand(operation, 1) : "";
  const std::string high = operation.has(2) ? to.operand(operation, 2) : "";
  to.give(operation, "Clip", {to.first(operation), low, high});
}

void to_clip_low(Translator& to, const Operation& operation) {
  to.give(operation, "Max", {to.first(operation), to.operand(operation, 1)});
}

void to_clip_high(Translator& to, const Operation& operation) {
  to.give(operation, "Min", {to.first(operation), to.operand(operation, 1)});
}

std::int64_t keeps(const Operation& operation, std::size_t argument) {
  return operation.has(argument) && operation.truth(argument) ? 1 : 0;
}

void to_mean(Translator& to, const Operation& operation) {
  to.give(operation, "ReduceMean", {to.first(operation)},
          {{"axes", to.axes(operation, 1)}, {"keepdims", keeps(operation, 2)}});
}

void to_sum(Translator& to, const Operation& operation) {
  to.give(operation, "ReduceSum", {to.first(operation), to.graph().integers(to.axes(operation, 1))},
          {{"keepdims", keeps(operation, 2)}});
}

void to_norm(Translator& to, const Operation& operation) {
  require(operation, operation.number(1) == 2, "is not of order 2");
  to.give(operation, "ReduceL2", {to.first(operation)},
          {{"axes", to.axes(operation, 2)}, {"keepdims", keeps(operation, 3)}});
}

void to_layer_norm(Translator& to, const Operation& operation) {
  const Integers normalised = operation.integers(1);
  const std::string scale =
      operation.has(2) ? to.name(operation.value(2)) : to.graph().constant(at::ones(at::IntArrayRef(normalised)));
  std::vector<std::string> inputs{to.first(operation), scale};
  if (operation.has(3)) inputs.push_back(to.name(operation.value(3)));
  to.give(operation, "LayerNormalization", inputs,
          {{"axis", -static_cast<std::int64_t>(normalised.size())}, {"epsilon", operation.number(4)}});
}

// batch_norm(x, weight, bias, mean, variance, training, momentum, epsilon, ...)
void to_batch_norm(Translator& to, const Operation& operation) {
  require(operation, operation.has(3) && operation.has(4) && !operation.truth(5), "normalises by the batch");
  const auto constant = [&](std::size_t argument, const at::Tensor& otherwise) {
    return operation.has(argument) ? to.name(operation.value(argument)) : to.graph().constant(otherwise);
  };
  const at::Tensor mean = to.constant(operation, 3);
  to.give(operation, "BatchNormalization",
          {to.first(operation), constant(1, at::ones_like(mean)), constant(2, at::zeros_like(mean)),
           to.name(operation.value(3)), to.name(operation.value(4))},
          {{"epsilon", operation.number(7)}});
}

void to_softmax(Translator& to, const Operation& operation) {
  to.give(operation, "Softmax", {to.first(operation)},
          {{"axis", Translator::axis(operation, 1, to.rank(operation.value(0)))}});
}

// scaled_dot_product_attention(q, k, v, mask, dropout, is_causal, scale)
void to_attention(Translator& to, const Operation& operation) {
  require(operation, !operation.has(5) || !operation.truth(5), "is causal");
  const std::int64_t dimensions = to.rank(operation.value(1));
  Integers order(static_cast<std::size_t>(dimensions));
  std::iota(order.begin(), order.end(), 0);
  std::swap(order[order.size() - 1], order[order.size() - 2]);
  const auto width = static_cast<double>(to.shape(operation.value(0)).back().size);
  const double scale = operation.has(6) ? operation.number(6) : 1 / std::sqrt(width);
  const std::string queries = to.graph().add("Mul", {to.first(operation), to.graph().scalar(scale)});
  const std::string keys = to.graph().add("Transpose", {to.name(operation.value(1))}, {{"perm", order}});
  std::string scores = to.graph().add("MatMul", {queries, keys});
  if (operation.has(3)) scores = to.graph().add("Add", {scores, to.name(operation.value(3))});
  to.give(operation, "MatMul",
          {to.graph().add("Softmax", {scores}, {{"axis", std::int64_t{-1}}}), to.name(operation.value(2))});
}

Integers pool_strides(const Operation& operation) {
  return spread(operation, operation.integers(2).empty() ? 1 : 2, kPictureDimensions);
}

void to_max_pool(Translator& to, const Operation& operation) {
  to.give(operation, "MaxPool", {to.first(operation)},
          {{"kernel_shape", spread(operation, 1, kPictureDimensions)},
           {"strides", pool_strides(operation)},
           {"pads", pads(operation, 3, kPictureDimensions)},
           {"dilations", spread(operation, 4, kPictureDimensions)},
           {"ceil_mode", std::int64_t{operation.truth(5)}}});
}

void to_average_pool(Translator& to, const Operation& operation) {
  require(operation, !operation.has(6), "has a divisor of its own");
  to.give(operation, "AveragePool", {to.first(operation)},
          {{"kernel_shape", spread(operation, 1, kPictureDimensions)},
           {"strides", pool_strides(operation)},
           {"pads", pads(operation, 3, kPictureDimensions)},
           {"ceil_mode", std::int64_t{operation.truth(4)}},
           {"count_include_pad", std::int64_t{operation.truth(5)}}});
}

// adaptive_avg_pool2d(x, output_size)
void to_adaptive_average_pool(Translator& to, const Operation& operation) {
  const Integers wanted = spread(operation, 1, kPictureDimensions);
  const Shape& shape = to.shape(operation.value(0));
  Integers kernel;
  for (std::size_t i = 0; i < kPictureDimensions; ++i) {
    const std::int64_t size = shape[shape.size() - kPictureDimensions + i].size;
    require(operation, wanted[i] > 0 && size % wanted[i] == 0, "pools windows of different sizes");
    kernel.push_back(size / wanted[i]);
  }
  to.give(operation, "AveragePool", {to.first(operation)}, {{"kernel_shape", kernel}, {"strides", kernel}});
}

}  // namespace

const std::map<std::string, Rule>& rules_of_arithmetic() {
  static const std::map<std::string, Rule> table{
      {"_convolution", to_convolution},
      {"adaptive_avg_pool2d", to_adaptive_average_pool},
      {"add", to_add},
      {"addcmul", to_addcmul},
      {"addmm", to_gemm},
      {"avg_pool2d", to_average_pool},
      {"batch_norm", to_batch_norm},
      {"clamp", to_clip},
      {"clamp_max", to_clip_high},
      {"clamp_min", to_clip_low},
      {"div", to_div},
      {"exp", to_plain<kExp>},
      {"gelu", to_gelu},
      {"hardsigmoid", to_hard_sigmoid},
      {"hardswish", to_plain<kHardSwish>},
      {"hardtanh", to_clip},
      {"layer_norm", to_layer_norm},
      {"linalg_vector_norm", to_norm},
      {"linear", to_linear},
      {"matmul", to_matmul},
      {"max_pool2d", to_max_pool},
      {"mean", to_mean},
      {"mul", to_mul},
      {"pow", to_pow},
      {"relu", to_plain<kRelu>},
      {"scaled_dot_product_attention", to_attention},
      {"sigmoid", to_plain<kSigmoid>},
      {"silu", to_silu},
      {"softmax", to_softmax},
      {"sqrt", to_plain<kSqrt>},
      {"sub", to_sub},
      {"sum", to_sum},
      {"tanh", to_plain<kTanh>},
  };
  return table;
}

}  // namespace cskd::exporting
