#include "data/staging_copier.h"

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <filesystem>
#include <optional>
#include <system_error>
#include <vector>

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include "runtime/error.h"
#include "runtime/failure_point.h"
#include "runtime/input_file.h"

namespace cskd::data {
namespace {

namespace fs = std::filesystem;

struct SharedFileFailed {};  // its readers meet the same error, and say so

class Descriptor {
 public:
  Descriptor(const fs::path& path, int flags) : number_(::open(path.c_str(), flags | O_CLOEXEC | O_NOFOLLOW, 0600)) {
    if (number_ < 0) runtime::throw_system_error(fmt::format("cannot create {}", path.native()), errno);
  }
  ~Descriptor() { ::close(number_); }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  int get() const { return number_; }

 private:
  int number_;
};

runtime::InputFile open_shared(const fs::path& path) {
  try {
    return runtime::InputFile(path);
  } catch (const runtime::Error&) {
    throw SharedFileFailed{};
  }
}

// The hash of what was copied.
runtime::ContentHash transfer(const runtime::InputFile& from, int to, const fs::path& target,
                              const std::atomic<bool>& stopping) {
  runtime::ContentHasher hasher;
  std::vector<std::byte> block;
  for (std::uint64_t at = 0; at < from.size(); at += block.size()) {
    if (stopping) throw StagingInterrupted{};
    block.resize(std::min(kStagingBlock, from.size() - at));
    try {
      from.read_at(at, block);
    } catch (const runtime::Error&) {
      throw SharedFileFailed{};
    }
    hasher.add(block);
    runtime::failure_point("staging.write", target.native());
    for (std::size_t done = 0; done < block.size();) {
      const ssize_t written = ::pwrite(to, block.data() + done, block.size() - done, static_cast<off_t>(at + done));
      if (written < 0) runtime::throw_system_error(fmt::format("cannot write {}", target.native()), errno);
      done += static_cast<std::size_t>(written);
    }
  }
  return hasher.hash();
}

}  // namespace

StagingCopier::Outcome StagingCopier::attempt(const std::string& name, const Staging::File& file,
                                              Staging::Counts& counts) {
  if (!folder_.start_copying(name)) return folder_.is_vouched_for(name, file) ? Outcome::kThere : Outcome::kLater;
  struct End {
    StagingFolder& folder;
    const std::string& name;
    ~End() { folder.end_copying(name); }
  } const end{folder_, name};
  try {
    return make(name, file, counts);
  } catch (const SharedFileFailed&) {
    return Outcome::kNever;
  } catch (const StagingInterrupted&) {
    return Outcome::kLater;
  }
}

StagingCopier::Outcome StagingCopier::make(const std::string& name, const Staging::File& file,
                                           Staging::Counts& counts) {
  if (folder_.is_vouched_for(name, file) || folder_.is_whole(name, file)) {
    ++counts.found;
    return Outcome::kThere;
  }
  std::error_code ignored;
  if (fs::exists(folder_.copy(name), ignored)) {
    ++counts.damaged;
    if (!folder_.remove_unused(name)) return Outcome::kLater;
  }
  const runtime::InputFile from = open_shared(file.path);
  if (from.size() != file.size || file.size > folder_.limit()) return Outcome::kNever;
  const fs::path target = folder_.temporary(name);
  runtime::ContentHash hash;
  {
    const Descriptor to(target, O_RDWR | O_CREAT | O_TRUNC);
    if (!folder_.make_room(file.size, to.get(), counts.removed)) return Outcome::kNoRoom;
    hash = transfer(from, to.get(), target, stopping_);
  }
  if (file.hash && hash != *file.hash) return Outcome::kNever;  // the original is damaged, which its readers find
  if (::rename(target.c_str(), folder_.copy(name).c_str()) != 0)
    runtime::throw_system_error(fmt::format("cannot rename {}", target.native()), errno);
  folder_.vouch(name, file, hash.hex());
  ++counts.copied;
  counts.copied_bytes += file.size;
  return Outcome::kThere;
}

}  // namespace cskd::data
