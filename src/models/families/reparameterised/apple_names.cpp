#include "models/families/reparameterised/apple_names.h"

#include <utility>

#include <fmt/format.h>

namespace cskd::models::reparameterised {

std::vector<NameRule> block_rules(const std::string& place, const std::string& ours, const std::string& squeeze_name,
                                  int groups) {
  const std::vector<std::pair<std::string, std::string>> parts{
      {"rbr_conv", "conv_kxk"},
      {"rbr_scale", "conv_scale"},
      {"rbr_skip", "identity"},
      {R"(se\.reduce)", squeeze_name + ".fc1"},
      {R"(se\.expand)", squeeze_name + ".fc2"},
      {"lkb_origin", "large_conv"},
      {"small_conv", "small_conv"},
  };
  std::vector<NameRule> rules;
  for (const auto& [theirs, own] : parts)
    rules.push_back({fmt::format(R"({}{}\.(.*))", place, theirs), fmt::format("{}{}.${}", ours, own, groups + 1)});
  return rules;
}

UnusableTensor folded_tensors() {
  return {.pattern = R"((.*\.)?(reparam_conv|lkb_reparam)\..*)",
          .reason =
              "its weights are in inference form (reparameterised), each block's branches folded into one "
              "convolution for good: take the file from before that"};
}

}  // namespace cskd::models::reparameterised
