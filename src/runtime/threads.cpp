#include "runtime/threads.h"

#include <exception>
#include <mutex>
#include <thread>
#include <vector>

#include "runtime/check.h"

namespace cskd::runtime {

void run_on_threads(int threads, const std::function<void(int)>& work) {
  CSKD_CHECK(threads >= 1, "{} threads", threads);
  std::mutex mutex;
  std::exception_ptr first;
  {
    std::vector<std::jthread> running;
    running.reserve(static_cast<std::size_t>(threads));
    for (int i = 0; i < threads; ++i) {
      running.emplace_back([&, i] {
        try {
          work(i);
        } catch (...) {
          const std::lock_guard lock(mutex);
          if (!first) first = std::current_exception();
        }
      });
    }
  }
  if (first) std::rethrow_exception(first);
}

}  // namespace cskd::runtime
