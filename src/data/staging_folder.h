// The folder of copies that processes of a host share: copies and their vouchers, locks, and room.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "data/staging.h"
#include "runtime/content_hash.h"
#include "runtime/range_locks.h"

namespace cskd::data {

inline constexpr std::uint64_t kStagingBlock = 4ULL << 20;  // bytes that are copied at once

struct StagingInterrupted {};  // thrown where `stopping` becomes true

// See Note [Staging]. Files go by name_of(). Throws Error where its disk fails.
class StagingFolder : public std::enable_shared_from_this<StagingFolder> {
 public:
  // Makes the folder, for at most `limit` bytes, and removes what killed processes left. `stopping` must outlive all
  // copying.
  StagingFolder(std::filesystem::path folder, std::uint64_t limit, const std::atomic<bool>& stopping);

  static std::string name_of(const Staging::File& file);
  const std::filesystem::path& path() const noexcept { return folder_; }
  std::uint64_t limit() const noexcept { return limit_; }
  std::filesystem::path copy(const std::string& name) const { return folder_ / (name + ".copy"); }
  std::filesystem::path temporary(const std::string& name) const { return folder_ / (name + ".tmp"); }

  // ---- for readers; any thread

  // Keeps the copy as long as it lives; empty when there is none that may be read.
  std::shared_ptr<const void> lease(const std::string& name, const Staging::File& file);
  // Removes a copy even while it is read: its readers keep it, as files are kept that are open.
  void remove(const std::string& name);
  bool is_vouched_for(const std::string& name, const Staging::File& file) const;

  // ---- for the thread that copies

  // Whether this rank may make the copy now; until end_copying().
  bool start_copying(const std::string& name);
  void end_copying(const std::string& name);
  // A copy without a voucher that fits, of an earlier boot or damaged: hashes it, and vouches for it when it is whole.
  bool is_whole(const std::string& name, const Staging::File& file) const;
  void vouch(const std::string& name, const Staging::File& file, const std::string& hash) const;
  // False when somebody reads it.
  bool remove_unused(const std::string& name);
  // Makes the temporary file `descriptor` so large, and removes copies until it fits, which `removed` counts. False
  // when there is no room now.
  bool make_room(std::uint64_t size, int descriptor, std::uint64_t& removed);

 private:
  struct Voucher;

  std::filesystem::path voucher(const std::string& name) const { return folder_ / (name + ".ok"); }
  std::optional<Voucher> look(const std::string& name, const Staging::File& file) const;
  static std::optional<Voucher> read_voucher(const std::filesystem::path& path);
  runtime::ContentHash hash_of(const std::filesystem::path& path) const;
  std::uint64_t bytes(std::vector<std::pair<std::int64_t, std::string>>& by_use);

  const std::filesystem::path folder_;
  const std::uint64_t limit_;
  const std::atomic<bool>& stopping_;
  const std::string boot_;
  std::optional<runtime::RangeLocks> locks_;
  std::mutex mutex_;                   // of readers' locks
  std::map<std::string, int> leased_;  // how often
  std::string in_the_making_;          // of the thread that copies, as the next one
  std::chrono::steady_clock::time_point no_room_until_;
};

}  // namespace cskd::data
