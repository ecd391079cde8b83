// The memory of a compiled network: one block, in which maps that are not needed at the same time share their places.
#pragma once

#include <cstddef>
#include <memory>
#include <vector>

namespace cskd::compiled {

class StepMemory {
 public:
  // A map: numbers of one image, and the steps, from 0, that write it first and read it last.
  struct Map {
    std::size_t numbers = 0;
    std::size_t first = 0, last = 0;
  };

  explicit StepMemory(std::vector<Map> maps) : maps_(std::move(maps)) {}

  // Places for so many images; whatever was there is lost.
  void reserve(std::size_t images);
  float* at(std::size_t map) const { return reinterpret_cast<float*>(block_.get() + offsets_[map]); }
  std::size_t bytes() const { return bytes_; }

 private:
  struct Deleter {
    void operator()(std::byte* block) const;
  };
  std::vector<Map> maps_;
  std::vector<std::size_t> offsets_;  // bytes
  std::unique_ptr<std::byte, Deleter> block_;
  std::size_t bytes_ = 0;
};

}  // namespace cskd::compiled
