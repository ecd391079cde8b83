#include "models/families/shifted_windows.h"

#include <algorithm>
#include <cstdint>
#include <vector>

#include <torch/autograd.h>
#include <torch/types.h>

namespace cskd::models {
namespace {

using torch::Tensor;

// Its gradient is the reverse permutation. LibTorch's own, of index_select(), would add up rows one by one.
class Permutation final : public torch::autograd::Function<Permutation> {
 public:
  // rows: [N, L, D]; order and places: [L], each the reverse of the other
  static Tensor forward(torch::autograd::AutogradContext* context, const Tensor& rows, const Tensor& order,
                        const Tensor& places) {
    context->save_for_backward({order, places});
    return rows.index_select(1, order);
  }

  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* context,
                                                 const torch::autograd::variable_list& gradients) {
    const torch::autograd::variable_list saved = context->get_saved_variables();
    return {Permutation::apply(gradients[0], saved[1], saved[0]), Tensor(), Tensor()};
  }
};

Tensor permuted(const Tensor& rows, const Constant& order, const Constant& places) {
  return Permutation::apply(rows, order.on(rows.device(), torch::kLong), places.on(rows.device(), torch::kLong));
}

struct Place {
  int row = 0;
  int column = 0;
};

// Of each token in the shifted map, window by window; inside a window row by row.
std::vector<Place> places_in_turn(int per_side, int side) {
  std::vector<Place> places;
  for (int i = 0; i < per_side * per_side; ++i) {
    for (int j = 0; j < side * side; ++j)
      places.push_back({i / per_side * side + j / side, i % per_side * side + j % side});
  }
  return places;
}

std::vector<std::int64_t> order_of(int grid, int per_side, int side, int shift) {
  // The zeros behind the map stay where they are.
  const auto moved = [&](int i) { return i < grid ? (i + shift) % grid : i; };
  std::vector<std::int64_t> order;
  for (const Place& place : places_in_turn(per_side, side))
    order.push_back(std::int64_t{moved(place.row)} * per_side * side + moved(place.column));
  return order;
}

// timm's mask: along each axis the rows before the last window, those of it that stay together, and those that came
// from the start are apart.
Tensor mask_of(int per_side, int side, int shift) {
  const int padded = per_side * side;
  const auto part = [&](int i) { return i < padded - side ? 0 : i < padded - shift ? 1 : 2; };
  std::vector<std::int64_t> parts;
  for (const Place& place : places_in_turn(per_side, side)) parts.push_back(3 * part(place.row) + part(place.column));
  const Tensor region = torch::tensor(parts).view({per_side * per_side, side * side});
  return (region.unsqueeze(1) != region.unsqueeze(2)).to(torch::kFloat).mul_(-100).unsqueeze(1);
}

std::vector<std::int64_t> relative_positions_of(int side) {
  const std::vector<Place> places = places_in_turn(1, side);
  const std::int64_t span = 2 * side - 1;
  std::vector<std::int64_t> rows;
  for (const Place& from : places) {
    for (const Place& to : places)
      rows.push_back((from.row - to.row + side - 1) * span + from.column - to.column + side - 1);
  }
  return rows;
}

}  // namespace

ShiftedWindows::ShiftedWindows(int grid, int window, bool is_shifted)
    : grid_(grid),
      side_(std::min(grid, window)),
      shift_(is_shifted && grid > window ? window / 2 : 0),
      per_side_((grid + side_ - 1) / side_),
      order_(
          [=, n = per_side_, side = side_, shift = shift_] { return torch::tensor(order_of(grid, n, side, shift)); }),
      places_([=, n = per_side_, side = side_, shift = shift_] {
        return torch::tensor(order_of(grid, n, side, shift)).argsort();
      }),
      mask_([n = per_side_, side = side_, shift = shift_] { return mask_of(n, side, shift); }),
      relative_positions_([side = side_] { return torch::tensor(relative_positions_of(side)); }) {}

Tensor ShiftedWindows::partition(const Tensor& map) const {
  const int rest = per_side_ * side_ - grid_;
  Tensor rows = (rest > 0 ? torch::constant_pad_nd(map, {0, 0, 0, rest, 0, rest}) : map).flatten(1, 2);
  if (count() > 1) rows = permuted(rows, order_, places_);
  return rows.reshape({-1, tokens(), map.size(3)});
}

Tensor ShiftedWindows::merge(const Tensor& windows) const {
  const int padded = per_side_ * side_;
  Tensor rows = windows.reshape({-1, std::int64_t{padded} * padded, windows.size(2)});
  if (count() > 1) rows = permuted(rows, places_, order_);
  const Tensor map = rows.unflatten(1, {padded, padded});
  return padded > grid_ ? map.slice(1, 0, grid_).slice(2, 0, grid_) : map;
}

Tensor ShiftedWindows::attend(const Tensor& queries, const Tensor& keys, const Tensor& values, const Tensor& bias,
                              double scale) const {
  const std::int64_t batch = queries.size(0);
  const Tensor mask = is_shifted() ? mask_.on(bias.device(), bias.scalar_type()) : Tensor();
  // LibTorch's fused attention for CPUs takes no bias that needs a gradient, and what it does instead is slower.
  if (bias.requires_grad() && bias.device().is_cpu()) {
    const auto by_map = [&](const Tensor& tensor) { return tensor.unflatten(0, {-1, count()}); };
    Tensor scores = torch::matmul(by_map(queries) * scale, by_map(keys).transpose(-2, -1)).add_(bias);
    if (mask.defined()) scores.add_(mask);
    return torch::matmul(scores.softmax(-1), by_map(values)).transpose(2, 3).reshape({batch, tokens(), -1});
  }
  Tensor added = bias.unsqueeze(0);
  if (mask.defined()) {
    const Tensor of_windows = bias + mask;
    added = of_windows.expand({batch / count(), -1, -1, -1, -1}).reshape({batch, -1, tokens(), tokens()});
  }
  return at::scaled_dot_product_attention(queries, keys, values, added, /*dropout_p=*/0, /*is_causal=*/false, scale)
      .transpose(1, 2)
      .reshape({batch, tokens(), -1});
}

Tensor ShiftedWindows::bias_of(const Tensor& table) const {
  // Not index_select(), whose gradient LibTorch adds up row by row.
  const Tensor rows = torch::embedding(table, relative_positions_.on(table.device(), torch::kLong));
  return rows.t().reshape({-1, tokens(), tokens()});
}

}  // namespace cskd::models
