// A record of samples that were damaged after they were packed: counted and logged; too many end the run.
#pragma once

#include <atomic>
#include <cstdint>
#include <mutex>
#include <set>
#include <string>

namespace cskd::data {

class DamageLog {
 public:
  // Of the samples that are used, `most_share` may be damaged.
  explicit DamageLog(double most_share) : most_share_(most_share) {}

  void count_use() noexcept {
    if (counts_) ++uses_;
  }

  // Call within a catch block, when the sample cannot be used because of what was caught: logs a warning, once for each
  // sample, with what is done about it ("another one takes its place"). Throws DataError, which nests what was caught,
  // when more than the share of all uses was damaged; the first kFewUses count as so many.
  void add(const std::string& sample, const std::string& remedy);

  std::uint64_t damaged() const noexcept { return damaged_; }  // uses

  // While it lives, neither uses nor damage are counted, and no share is too large; warnings are logged all the same.
  // For samples that are read apart from the run's own uses. One at a time.
  class Uncounted {
   public:
    explicit Uncounted(DamageLog& log) : log_(log) { log_.counts_ = false; }
    ~Uncounted() { log_.counts_ = true; }
    Uncounted(const Uncounted&) = delete;
    Uncounted& operator=(const Uncounted&) = delete;

   private:
    DamageLog& log_;
  };

  static constexpr std::uint64_t kFewUses = 1000;

 private:
  const double most_share_;
  std::atomic<std::uint64_t> uses_{0};
  std::atomic<std::uint64_t> damaged_{0};
  std::atomic<bool> counts_{true};
  std::mutex mutex_;
  std::set<std::string> told_;
};

}  // namespace cskd::data
