#include "launch/shared_folder.h"

#include <fstream>
#include <set>
#include <string>
#include <system_error>
#include <thread>

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <unistd.h>

#include "runtime/atomic_file.h"
#include "runtime/error.h"

namespace cskd::launch {
namespace {

namespace fs = std::filesystem;

bool holds(const fs::path& file, const std::string& text) {
  std::ifstream stream(file);
  std::string line;
  return std::getline(stream, line) && line == text;
}

// Reading a folder asks the file server for it anew, where opening a file might not.
void look_through(const fs::path& folder) {
  std::error_code ignored;
  for (auto at = fs::directory_iterator(folder, ignored); at != fs::directory_iterator(); at.increment(ignored)) {
  }
}

}  // namespace

void require_shared_folder(const fs::path& folder, runtime::World& world) {
  if (world.nodes() == 1) return;
  const fs::path file = folder / ".seen-by-all";
  const std::string own =
      fmt::format("{} {} {}", world.host(), ::getpid(), std::chrono::system_clock::now().time_since_epoch().count());
  if (world.rank() == 0) runtime::write_file_atomically(file, own + "\n");
  const std::string text = world.broadcast(own);
  const auto deadline = std::chrono::steady_clock::now() + kSeenWithin;
  bool is_seen = holds(file, text);
  while (!is_seen && std::chrono::steady_clock::now() < deadline) {
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
    look_through(folder);
    is_seen = holds(file, text);
  }
  std::set<std::string> blind;
  for (const std::string& host : world.all_gather(is_seen ? "" : world.host())) {
    if (!host.empty()) blind.insert(host);
  }
  if (world.rank() == 0) {
    std::error_code ignored;
    fs::remove(file, ignored);
  }
  if (blind.empty()) return;
  throw runtime::UsageError(
      fmt::format("{} is another folder on {} than on {}, or is not there: choose a run.folder on a file system that all "
                  "hosts share",
                  folder.native(), fmt::join(blind, ", "), world.broadcast(world.host())));
}

}  // namespace cskd::launch
