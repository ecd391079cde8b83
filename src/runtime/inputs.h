// All that decides what a piece of work computes, by name: settings, and digests of the files that it reads. Kept
// beside the result, so that a later start with others can say which of them differ.
#pragma once

#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "runtime/content_hash.h"

namespace cskd::runtime {

class Inputs {
 public:
  Inputs() = default;
  explicit Inputs(std::map<std::string, std::string> values) : values_(std::move(values)) {}

  // REQUIRES: what has this name already has this value
  void add(const std::string& name, const std::string& value);
  void add(const std::vector<std::pair<std::string, std::string>>& settings);
  void add(const Inputs& others);

  const std::map<std::string, std::string>& values() const noexcept { return values_; }
  ContentHash hash() const;

 private:
  std::map<std::string, std::string> values_;
};

// What differs, names of `allowed` left out: "align.training.steps (was 100, is 200), ...". Empty when nothing does.
std::string differences(const Inputs& before, const Inputs& now, const std::set<std::string>& allowed = {});

}  // namespace cskd::runtime
