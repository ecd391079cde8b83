#include "doctor/host_probe.h"

#include <algorithm>
#include <array>
#include <clocale>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <set>
#include <sstream>
#include <system_error>

#include <fmt/format.h>
#include <langinfo.h>
#include <locale.h>
#include <sys/resource.h>

namespace cskd::doctor {
namespace {

namespace fs = std::filesystem;

std::string first_line(const fs::path& file) {
  std::ifstream stream(file);
  std::string line;
  std::getline(stream, line);
  return line;
}

std::vector<fs::path> entries(const fs::path& folder) {
  std::error_code error;
  std::vector<fs::path> found;
  for (const auto& item : fs::directory_iterator(folder, error)) found.push_back(item.path());
  std::sort(found.begin(), found.end());
  return found;
}

std::uint64_t limit(int resource) {
  struct rlimit found {};
  if (::getrlimit(static_cast<__rlimit_resource>(resource), &found) != 0 || found.rlim_cur == RLIM_INFINITY)
    return kUnlimited;
  return found.rlim_cur;
}

// "4: ACTIVE"
std::string after_colon(const std::string& text) {
  const auto colon = text.find(": ");
  return colon == std::string::npos ? text : text.substr(colon + 2);
}

}  // namespace

std::string value_in(const fs::path& file, std::string_view key) {
  std::ifstream stream(file);
  for (std::string line; std::getline(stream, line);) {
    if (!line.starts_with(key)) continue;
    const std::size_t start = line.find_first_not_of(": \t", key.size());
    return start == std::string::npos ? "" : line.substr(start);
  }
  return "";
}

std::string processor_features() {
  constexpr std::array<const char*, 20> kWanted{"sse4_2",   "avx",         "avx2",        "fma",         "f16c",
                                                "avx512f",  "avx512bw",    "avx512dq",    "avx512vl",    "avx512cd",
                                                "avx_vnni", "avx512_vnni", "avx512_bf16", "avx512_fp16", "amx_tile",
                                                "amx_bf16", "asimd",       "sve",         "sve2",        "bf16"};
  std::string line = value_in("/proc/cpuinfo", "flags");
  if (line.empty()) line = value_in("/proc/cpuinfo", "Features");
  std::istringstream words(line);
  const std::set<std::string> has{std::istream_iterator<std::string>(words), {}};
  std::string found;
  for (const char* feature : kWanted) {
    if (has.contains(feature)) found += fmt::format("{}{}", found.empty() ? "" : " ", feature);
  }
  return found;
}

std::uint64_t control_group_number(const std::string& version2, const std::string& version1) {
  const fs::path root = "/sys/fs/cgroup";
  const fs::path group = fs::path(value_in("/proc/self/cgroup", "0::")).relative_path();
  for (const fs::path& file : {root / group / version2, root / version2, root / version1}) {
    std::ifstream stream(file);
    std::uint64_t number = 0;
    if (stream >> number) return number;
  }
  return kUnlimited;
}

LimitFacts limits_of_this_process() {
  return {.open_files = limit(RLIMIT_NOFILE),
          .locked_memory = limit(RLIMIT_MEMLOCK),
          .processes = std::min(limit(RLIMIT_NPROC), control_group_number("pids.max", "pids/pids.max")),
          .core_file = limit(RLIMIT_CORE),
          .stack = limit(RLIMIT_STACK)};
}

LocaleFacts locale_of_this_process() {
  LocaleFacts facts;
  facts.name = "C";
  for (const char* variable : {"LC_ALL", "LC_NUMERIC", "LANG"}) {
    const char* value = std::getenv(variable);
    if (value == nullptr || *value == '\0') continue;
    facts.name = value;
    break;
  }
  facts.decimal_point = std::localeconv()->decimal_point;
  if (const locale_t asked = ::newlocale(LC_NUMERIC_MASK, facts.name.c_str(), nullptr)) {
    facts.asked_point = ::nl_langinfo_l(RADIXCHAR, asked);
    ::freelocale(asked);
  }
  return facts;
}

NetworkFacts look_at_network(const fs::path& root) {
  NetworkFacts facts;
  for (const fs::path& interface : entries(root / "sys/class/net")) {
    const std::string name = interface.filename().native();
    const std::string state = first_line(interface / "operstate");
    if (name != "lo" && (state == "up" || state == "unknown")) facts.interfaces.push_back(name);
  }
  for (const fs::path& card : entries(root / "sys/class/infiniband")) {
    for (const fs::path& port : entries(card / "ports")) {
      facts.fabric.push_back({.name = fmt::format("{}/{}", card.filename().native(), port.filename().native()),
                              .state = after_colon(first_line(port / "state")),
                              .rate = first_line(port / "rate"),
                              .layer = first_line(port / "link_layer")});
    }
  }
  return facts;
}

TcpCount count_tcp(const fs::path& root) {
  // A line of names, then a line of numbers.
  std::ifstream stream(root / "proc/net/snmp");
  for (std::string line; std::getline(stream, line);) {
    if (!line.starts_with("Tcp:")) continue;
    std::string numbers_line;
    std::getline(stream, numbers_line);
    std::istringstream names(line);
    std::istringstream numbers(numbers_line);
    TcpCount count;
    for (std::string name, number; names >> name && numbers >> number;) {
      if (name == "OutSegs") count.sent = std::strtoull(number.c_str(), nullptr, 10);
      if (name == "RetransSegs") count.sent_again = std::strtoull(number.c_str(), nullptr, 10);
    }
    return count;
  }
  return {};
}

}  // namespace cskd::doctor
