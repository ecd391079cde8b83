// Reader of models/model.json of a .pt2 file, schema 8 of torch.export (torch/_export/serde/schema.yaml).
#pragma once

#include <string>
#include <string_view>

#include "models/plugin/program.h"

namespace cskd::models {

inline constexpr std::uint64_t kLargestProgram = 128'000'000;  // bytes of its text

// A program from its text. Checked: one input of images [any batch, 3, S, S] in float32, outputs that are tensors, no
// change of inputs, parameters or buffers, no operator of higher order, no value that is used before it is made or made
// twice, shapes without overflow. Throws DataError that begins with `origin` and says how to export again.
Program read_program(std::string_view text, const std::string& origin);

// The same program without what no reader needs (places in Python files, shapes of intermediate values): text that
// read_program() takes. Throws as it does.
std::string shortened_program(std::string_view text, const std::string& origin);

}  // namespace cskd::models
