#include "models/layer_order.h"

#include <algorithm>
#include <array>
#include <climits>
#include <cmath>
#include <regex>

#include "runtime/check.h"

namespace cskd::models {
namespace {

// Where a parameter lies: kStem, kBlocks or kHead, then the number of the block, or of its stage and in it.
using Place = std::array<int, 3>;

constexpr int kStem = 0;
constexpr int kBlocks = 1;
constexpr int kHead = 2;
constexpr Place kLastNorm{kBlocks, INT_MAX, 0};

}  // namespace

LayerOrder::LayerOrder(const std::vector<std::string>& parameter_names, const ParameterNames& family)
    : family_(family) {
  const std::regex stem(family.stem);
  const std::regex block(family.block);
  const std::regex last_norm(family.last_norm);
  const auto place_of = [&](const std::string& name) {
    std::smatch match;
    if (const auto depth = family_.depths.find(name); depth != family_.depths.end())
      return Place{kBlocks, depth->second, 0};
    if (std::regex_match(name, match, block))
      return Place{kBlocks, std::stoi(match[1]), match.size() > 2 && match[2].matched ? std::stoi(match[2]) : 0};
    if (is_embedding(name) || std::regex_match(name, stem)) return Place{kStem, 0, 0};
    return std::regex_match(name, last_norm) ? kLastNorm : Place{kHead, 0, 0};
  };
  std::map<Place, std::vector<std::string>> places;
  for (const std::string& name : parameter_names) places[place_of(name)].push_back(name);
  for (const auto& [place, names] : places) {
    if (layers_ == 0 || place != kLastNorm) ++layers_;
    for (const std::string& name : names) layer_of_[name] = layers_ - 1;
  }
}

int LayerOrder::layer_of(const std::string& name) const {
  const auto found = layer_of_.find(name);
  CSKD_CHECK(found != layer_of_.end(), "no parameter '{}' among {}", name, layer_of_.size());
  return found->second;
}

double LayerOrder::rate_share(const std::string& name, double layer_decay) const {
  return std::pow(layer_decay, layers_ - 1 - layer_of(name));
}

bool LayerOrder::is_embedding(const std::string& name) const {
  return std::ranges::find(family_.embeddings, name) != family_.embeddings.end();
}

}  // namespace cskd::models
