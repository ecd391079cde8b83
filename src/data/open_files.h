// Readers of numbered files, opened at their first use; those that were used last stay open.
#pragma once

#include <cstddef>
#include <cstdint>
#include <exception>
#include <functional>
#include <list>
#include <memory>
#include <mutex>
#include <unordered_map>
#include <utility>

namespace cskd::data {

// Any thread. While one file is opened, others are to be had.
template <typename Reader>
class OpenFiles {
 public:
  using Open = std::function<std::shared_ptr<const Reader>(std::uint32_t number)>;

  // At most `most` stay open beside those that are in use. REQUIRES: most >= 1
  OpenFiles(std::size_t most, Open open) : most_(most), open_(std::move(open)) {}

  // Throws what `open` throws, for the same file the same again: it is not tried twice.
  std::shared_ptr<const Reader> get(std::uint32_t number) {
    const std::shared_ptr<File> file = find(number);
    const std::lock_guard lock(file->mutex);
    if (file->error) std::rethrow_exception(file->error);
    if (!file->reader) {
      try {
        file->reader = open_(number);
      } catch (...) {
        file->error = std::current_exception();
        throw;
      }
    }
    return file->reader;
  }

  // get() opens the file anew. Those who have its reader keep it.
  void renew(std::uint32_t number) {
    std::shared_ptr<File> file;
    {
      const std::lock_guard lock(mutex_);
      const auto known = places_.find(number);
      if (known == places_.end()) return;
      file = *known->second;
    }
    const std::lock_guard lock(file->mutex);
    file->reader = nullptr;
    file->error = nullptr;
  }

 private:
  struct File {
    std::uint32_t number = 0;
    std::mutex mutex;
    std::shared_ptr<const Reader> reader;
    std::exception_ptr error;
  };
  using Files = std::list<std::shared_ptr<File>>;

  std::shared_ptr<File> find(std::uint32_t number) {
    const std::lock_guard lock(mutex_);
    const auto known = places_.find(number);
    if (known != places_.end()) {
      files_.splice(files_.begin(), files_, known->second);
      return files_.front();
    }
    if (files_.size() == most_) {
      places_.erase(files_.back()->number);
      files_.pop_back();
    }
    files_.push_front(std::make_shared<File>());
    files_.front()->number = number;
    places_[number] = files_.begin();
    return files_.front();
  }

  const std::size_t most_;
  const Open open_;
  std::mutex mutex_;
  Files files_;  // used last first
  std::unordered_map<std::uint32_t, typename Files::iterator> places_;
};

}  // namespace cskd::data
