// Members of a sweep: one configuration with every combination of lists of values.
#pragma once

#include <string>
#include <utility>
#include <vector>

namespace cskd::config {

// A key, and the values that it takes, each as --set takes it.
struct SweepAxis {
  std::string key;
  std::vector<std::string> values;
};

// From "run.seed=1,2,3" or `data.resize=fast,bicubic`; a value that is a list itself is written as in TOML. Throws
// UsageError: no KEY=VALUE, no value, one that is there twice, a key that decides where results lie.
SweepAxis parse_axis(const std::string& text);

// A value for each axis.
struct SweepMember {
  std::vector<std::pair<std::string, std::string>> values;  // key and value, in the order of the axes

  std::vector<std::string> overrides() const;  // "run.seed=1"
  std::string name() const;                    // "run.seed=1, labels.fraction=0.1"
};

// The product, the last axis changing first. Throws UsageError when a key has two axes, or there are more than
// kMostMembers.
inline constexpr std::size_t kMostMembers = 10'000;
std::vector<SweepMember> members_of(const std::vector<SweepAxis>& axes);

}  // namespace cskd::config
