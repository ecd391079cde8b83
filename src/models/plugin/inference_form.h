// A program as inference computes it: with less, and nothing in place.
#pragma once

#include <vector>

#include <ATen/core/Tensor.h>

#include "models/plugin/prepared_program.h"

namespace cskd::models {

// Makes every batch normalisation behind a convolution part of it, with `inputs` (of program.inputs, in their order) as
// they are now, whose folded weights become inputs of their own; and every operator in place one that returns a new
// tensor, where the program allows. Results differ by rounding.
void take_inference_form(PreparedProgram& program, std::vector<at::Tensor>& inputs);

// Puts products with packed weights (Note [Packed products]) into a program in that form, which go behind `inputs`, and
// GELUs into the products that they follow. False, and no change: there is none. The program then serves where
// packed_weights_serve() says so.
bool pack_products(PreparedProgram& program, std::vector<at::Tensor>& inputs);

}  // namespace cskd::models
