// The fate of memory that is freed.
#pragma once

namespace cskd::runtime {

// Note [Freed memory]
// glibc gives a large block back to the system when it is freed, and takes a new one, zeroed, at the next request: a
// page fault for every 4 KiB. A training step frees and requests the same tensors again and again, which costs a tenth
// to a quarter of its time on a small network (docs/benchmarks.md). After this call the process keeps what it has
// freed, of blocks up to 32 MiB, glibc's limit; larger ones still go back.
//
// For processes that train; call once, before the first tensor.
void keep_freed_memory();

}  // namespace cskd::runtime
