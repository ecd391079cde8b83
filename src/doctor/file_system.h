// The file system under a folder.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>

namespace cskd::doctor {

struct Mount {
  std::string type;     // "ext4", "nfs4", "lustre", "fuse.sshfs", ..., "" when it is not known
  std::string options;  // "rw,relatime,local_lock=none"
};

// The mount that holds `path`, from a table in the form of /proc/self/mountinfo.
Mount mount_of(const std::filesystem::path& path, std::string_view table);
// The same from the kernel's table, or else by the number that statfs(2) tells.
Mount mount_of(const std::filesystem::path& path);

// Whether files on it pass through a network.
bool is_network_file_system(std::string_view type);
// Whether it is gone when the host restarts, or is of one host or container by its nature: "tmpfs", "overlay", ...
bool is_fleeting_file_system(std::string_view type);

}  // namespace cskd::doctor
