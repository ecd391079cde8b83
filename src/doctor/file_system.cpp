#include "doctor/file_system.h"

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <fstream>
#include <iterator>
#include <sstream>
#include <vector>

#include <fmt/format.h>
#include <sys/vfs.h>

namespace cskd::doctor {
namespace {

// Spaces and the like are written as \040 there.
std::string without_escapes(const std::string& text) {
  std::string plain;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const bool is_escape = text[i] == '\\' && i + 3 < text.size() && text.find_first_not_of("01234567", i + 1) > i + 3;
    if (!is_escape) {
      plain += text[i];
      continue;
    }
    plain += static_cast<char>((text[i + 1] - '0') * 64 + (text[i + 2] - '0') * 8 + (text[i + 3] - '0'));
    i += 3;
  }
  return plain;
}

bool holds(const std::filesystem::path& mount, const std::filesystem::path& path) {
  return std::mismatch(mount.begin(), mount.end(), path.begin(), path.end()).first == mount.end();
}

// Magic numbers of statfs(2) and, for the parallel file systems, of their own headers.
std::string name_by_number(const std::filesystem::path& path) {
  struct statfs stat {};
  if (::statfs(path.c_str(), &stat) != 0) return "";
  struct Known {
    std::uint32_t number;
    const char* name;
  };
  constexpr std::array<Known, 16> kKnown{{{0xEF53, "ext4"},
                                          {0x58465342, "xfs"},
                                          {0x9123683E, "btrfs"},
                                          {0x2FC12FC1, "zfs"},
                                          {0x01021994, "tmpfs"},
                                          {0x794C7630, "overlay"},
                                          {0x6969, "nfs"},
                                          {0x0BD00BD0, "lustre"},
                                          {0x47504653, "gpfs"},
                                          {0x19830326, "beegfs"},
                                          {0x00C36400, "ceph"},
                                          {0x65735546, "fuse"},
                                          {0xFF534D42, "cifs"},
                                          {0xFE534D42, "smb3"},
                                          {0x01021997, "9p"},
                                          {0x20030528, "pvfs2"}}};
  const auto number = static_cast<std::uint32_t>(stat.f_type);
  const auto* const found =
      std::find_if(kKnown.begin(), kKnown.end(), [number](const Known& each) { return each.number == number; });
  return found == kKnown.end() ? fmt::format("{:#x}", number) : found->name;
}

}  // namespace

Mount mount_of(const std::filesystem::path& path, std::string_view table) {
  // 36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw,errors=continue (proc(5))
  Mount best;
  std::size_t longest = 0;
  std::istringstream lines{std::string(table)};
  for (std::string line; std::getline(lines, line);) {
    std::istringstream stream(line);
    const std::vector<std::string> words{std::istream_iterator<std::string>(stream), {}};
    const auto dash = std::find(words.begin(), words.end(), "-");
    if (words.size() < 6 || words.end() - dash < 4) continue;
    const std::string point = without_escapes(words[4]);
    // Of two at one place the later one lies on top.
    if (!holds(point, path) || point.size() < longest) continue;
    longest = point.size();
    best = {.type = dash[1], .options = words[5] + "," + dash[3]};
  }
  return best;
}

Mount mount_of(const std::filesystem::path& path) {
  std::ifstream file("/proc/self/mountinfo");
  const std::string table{std::istreambuf_iterator<char>(file), {}};
  std::error_code error;
  const std::filesystem::path real = std::filesystem::canonical(path, error);
  Mount mount = mount_of(error ? path : real, table);
  if (mount.type.empty() || mount.type == "autofs") mount.type = name_by_number(path);
  return mount;
}

bool is_network_file_system(std::string_view type) {
  constexpr std::array<std::string_view, 16> kTypes{"nfs",   "nfs4",     "lustre", "gpfs",     "beegfs", "fhgfs",
                                                    "ceph",  "cifs",     "smb3",   "9p",       "pvfs2",  "wekafs",
                                                    "panfs", "orangefs", "afs",    "glusterfs"};
  if (type.starts_with("fuse.")) type.remove_prefix(5);
  return std::find(kTypes.begin(), kTypes.end(), type) != kTypes.end() || type == "sshfs" || type == "juicefs";
}

bool is_fleeting_file_system(std::string_view type) {
  return type == "tmpfs" || type == "ramfs" || type == "overlay" || type == "squashfs";
}

}  // namespace cskd::doctor
