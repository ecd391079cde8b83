// A function run on several threads, and the wait for all.
#pragma once

#include <functional>

namespace cskd::runtime {

// Calls work(0), ..., work(threads - 1), each on a thread of its own; returns when all have. Rethrows the first
// exception; the others go on until they return, so `work` should look at a shared flag when its items are long.
// REQUIRES: threads >= 1
void run_on_threads(int threads, const std::function<void(int)>& work);

}  // namespace cskd::runtime
