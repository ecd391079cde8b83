#include "shards/importers/folder_walk.h"

#include <algorithm>
#include <cerrno>
#include <climits>
#include <cstring>
#include <memory>
#include <set>
#include <utility>
#include <vector>

#include <dirent.h>
#include <fmt/format.h>

#include "runtime/error.h"

namespace cskd::shards {
namespace {

// The names in one folder, sorted. One text for all of them: a folder may hold millions.
class Names {
 public:
  explicit Names(const std::string& folder) {
    struct Close {
      void operator()(DIR* stream) const { ::closedir(stream); }
    };
    const std::unique_ptr<DIR, Close> stream(::opendir(folder.c_str()));
    if (!stream) runtime::throw_system_error(fmt::format("cannot read folder {}", folder), errno);
    for (;;) {
      errno = 0;
      const dirent* item = ::readdir(stream.get());  // NOLINT(concurrency-mt-unsafe): the stream is ours alone
      if (item == nullptr) break;
      const std::string_view name = static_cast<const char*>(item->d_name);
      if (name.starts_with('.')) continue;
      starts_.push_back(text_.size());
      text_.append(name).push_back('\0');
    }
    if (errno != 0) runtime::throw_system_error(fmt::format("cannot read folder {}", folder), errno);
    std::sort(starts_.begin(), starts_.end(), [this](size_t a, size_t b) { return at(a) < at(b); });
  }

  size_t count() const { return starts_.size(); }
  std::string_view name(size_t position) const { return at(starts_[position]); }

 private:
  std::string_view at(size_t start) const { return text_.data() + start; }

  std::string text_;
  std::vector<size_t> starts_;
};

class Walk {
 public:
  Walk(const std::function<bool(std::string_view)>& is_wanted, const std::function<void(FoundFile&&)>& take)
      : is_wanted_(is_wanted), take_(take) {}

  // `name` is that of the folder below the first one, with a '/' behind it; empty for the first.
  void visit(const std::string& path, const std::string& name, const FileStatus& status) {
    if (!visited_.insert({status.device, status.inode}).second) return;
    const Names names(path);
    for (size_t i = 0; i < names.count(); ++i) {
      const std::string_view last = names.name(i);
      FoundFile found{.name = fmt::format("{}{}", name, last), .path = fmt::format("{}/{}", path, last), .status = {}};
      if (found.path.size() >= PATH_MAX) {
        runtime::throw_system_error(fmt::format("cannot examine {}", found.path), ENAMETOOLONG);
      }
      found.status = file_status(found.path);
      if (found.status.kind == FileStatus::Kind::kFolder) {
        visit(found.path, found.name + "/", found.status);
      } else if (is_wanted_(last)) {
        take_(std::move(found));
      }
    }
  }

 private:
  const std::function<bool(std::string_view)>& is_wanted_;
  const std::function<void(FoundFile&&)>& take_;
  std::set<std::pair<dev_t, ino_t>> visited_;
};

}  // namespace

void walk_folder(const std::string& folder, const std::function<bool(std::string_view)>& is_wanted,
                 const std::function<void(FoundFile&&)>& take) {
  const FileStatus status = file_status(folder);
  if (status.kind != FileStatus::Kind::kFolder) {
    throw runtime::DataError(fmt::format("{} does not exist or is not a folder", folder));
  }
  Walk(is_wanted, take).visit(folder, "", status);
}

}  // namespace cskd::shards
