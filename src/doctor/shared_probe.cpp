#include "doctor/shared_probe.h"

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstring>
#include <fstream>
#include <iterator>
#include <optional>
#include <random>
#include <string>
#include <system_error>
#include <thread>
#include <vector>

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <unistd.h>

#include "runtime/atomic_file.h"
#include "runtime/error.h"

namespace cskd::doctor {
namespace {

using Clock = std::chrono::steady_clock;

// Whether the file holds `contents` before the time is up; looks at once, and again and again. Opening it makes a
// network file system ask its server.
bool comes_to_hold(const std::filesystem::path& path, const std::string& contents, Clock::time_point end) {
  std::chrono::milliseconds pause{1};
  for (;;) {
    std::ifstream file(path, std::ios::binary);
    const std::string found{std::istreambuf_iterator<char>(file), {}};
    if (found == contents) return true;
    if (Clock::now() >= end) return false;
    std::this_thread::sleep_for(pause);
    pause = std::min(2 * pause, std::chrono::milliseconds(100));
  }
}

bool write(const std::filesystem::path& path, const std::string& contents) {
  try {
    runtime::write_file_atomically(path, contents);
    return true;
  } catch (const runtime::Error&) {
    return false;  // the folder's own facts, or the disk's, say why
  }
}

// A file with a lock, as long as this lives.
class Locked {
 public:
  Locked(const std::filesystem::path& path, int operation)
      : descriptor_(::open(path.c_str(), O_RDWR | O_CLOEXEC)),
        error_(descriptor_ < 0 || ::flock(descriptor_, operation | LOCK_NB) != 0 ? errno : 0) {}
  ~Locked() {
    if (descriptor_ >= 0) ::close(descriptor_);
  }
  Locked(const Locked&) = delete;
  Locked& operator=(const Locked&) = delete;
  int error() const { return error_; }

 private:
  int descriptor_;
  int error_;
};

std::string name_of_error(int number) {
  const char* const name = ::strerrorname_np(number);
  return name != nullptr ? name : std::to_string(number);
}

}  // namespace

SharedFacts probe_shared_folder(const std::filesystem::path& folder, runtime::World& world, StepLimit& steps,
                                std::chrono::milliseconds limit) {
  const bool looks = world.local_rank() == 0;
  const bool is_first = world.rank() == 0;
  const std::string step = fmt::format("writing and reading files in {}", folder.native());
  const auto as_step = [&](bool acts, const auto& act) {
    if (acts) steps.run(step, act);
  };
  std::random_device chance;
  const std::string nonce = world.broadcast(fmt::format("{:08x}{:08x}", chance(), chance()));
  const std::filesystem::path common = folder / fmt::format(".cskd-doctor-{}", nonce);
  const auto of_node = [&](int node) { return folder / fmt::format(".cskd-doctor-{}-{}", nonce, node); };
  // Looks for it from now on; the seconds until it was seen.
  const auto await = [&](const char* contents, bool& seen) {
    const Clock::time_point start = Clock::now();
    seen = comes_to_hold(common, nonce + contents, start + limit);
    return std::chrono::duration<double>(Clock::now() - start).count();
  };

  SharedFacts facts;
  bool is_written = false;
  as_step(is_first, [&] { is_written = write(common, nonce + " first"); });
  if (!world.any(is_written)) return facts;
  as_step(looks, [&] { facts.seen_after_seconds = await(" first", facts.sees_rank_zero); });
  world.barrier();
  as_step(is_first, [&] { write(common, nonce + " second"); });
  world.barrier();
  as_step(looks && facts.sees_rank_zero,
          [&] { facts.replaced_after_seconds = await(" second", facts.sees_replacement); });

  as_step(looks, [&] { write(of_node(world.node()), nonce); });
  world.barrier();
  std::string seen;
  as_step(is_first, [&] {
    const Clock::time_point end = Clock::now() + limit;
    for (int node = 0; node < world.nodes(); ++node) seen += comes_to_hold(of_node(node), nonce, end) ? '1' : '0';
  });
  seen = world.broadcast(seen);
  facts.seen_by_rank_zero = seen.at(static_cast<std::size_t>(world.node())) == '1';

  as_step(looks, [&] {
    const Locked own(of_node(world.node()), LOCK_EX);
    if (own.error() != 0 && own.error() != ENOENT) facts.flock = name_of_error(own.error());
  });
  {
    std::optional<Locked> held;
    as_step(is_first, [&] { held.emplace(common, LOCK_EX); });
    world.barrier();
    as_step(looks && world.node() != 0 && facts.sees_rank_zero && facts.flock == "works", [&] {
      if (Locked(common, LOCK_SH).error() == 0) facts.flock = "only on one host";
    });
    world.barrier();
  }
  // Rank 0's lock is nothing to test against where it has none.
  const std::string of_rank_zero = world.broadcast(facts.flock);
  if (of_rank_zero != "works" && facts.flock == "only on one host") facts.flock = of_rank_zero;

  as_step(looks, [&] {
    std::error_code ignored;
    std::filesystem::remove(of_node(world.node()), ignored);
    if (is_first) std::filesystem::remove(common, ignored);
  });
  return facts;
}

}  // namespace cskd::doctor
