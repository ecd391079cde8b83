// Facts of a plug-in that its program does not tell: preprocessing, and which output is what.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "models/encoder_entry.h"

namespace cskd::models {

// Of tokens in an output: [N, L, D]; [N, D, grid, grid]; [N, grid, grid, D].
enum class TokenForm { kSequence, kChannelsFirst, kChannelsLast };

// What extra/cskd.json of a .pt2 file says (launch/export_encoder.py), or the configuration instead.
struct PluginDescription {
  std::string name;     // "" takes the file's
  std::string licence;  // of its weights
  std::optional<Normalisation> normalisation;
  std::optional<int> pooled_output;  // from 0; none: by the shapes
  std::optional<int> token_output;
  std::optional<int> skipped_tokens;  // class token and registers, before those of the grid
};

// Throws DataError that begins with `origin` for text that is no such JSON. "": nothing is known.
PluginDescription read_description(const std::string& text, const std::string& origin);

// The text that read_description() takes.
std::string text_of(const PluginDescription& description);

// The fields of `preferred` that are there, the others of `otherwise`.
PluginDescription merged(const PluginDescription& preferred, const PluginDescription& otherwise);

// Where an encoder's features lie in the outputs of a program.
struct PluginOutputs {
  std::optional<int> pooled;  // output [N, D]; none: the mean of all tokens
  std::optional<int> tokens;  // output; none: it has none
  TokenForm form = TokenForm::kSequence;
  int skipped_tokens = 0;
  int grid = 0;
  int pooled_width = 0;
  int token_width = 0;
};

// `shapes`: of the outputs, without the batch. What the description leaves open follows from the shapes: the
// first [N, D] is pooled features, the first of three or four dimensions tokens, if they form a square. Throws
// DataError that begins with `origin` and shows the shapes.
PluginOutputs find_outputs(const std::vector<std::vector<std::int64_t>>& shapes, const PluginDescription& description,
                           const std::string& origin);

// "pooled features of 512 numbers from output 0, 7 x 7 tokens of 512 from output 1".
std::string sentence(const PluginOutputs& outputs);

}  // namespace cskd::models
