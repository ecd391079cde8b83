#include "runtime/lock_holder.h"

#include <algorithm>
#include <charconv>
#include <cstdlib>
#include <ctime>
#include <fstream>
#include <random>
#include <sstream>
#include <string_view>

#include <fmt/chrono.h>
#include <fmt/format.h>
#include <unistd.h>

#include "runtime/content_hash.h"
#include "runtime/host.h"

namespace cskd::runtime {
namespace {

constexpr std::size_t kLongest = 512;  // of a line that is shown

std::string boot() {
  std::ifstream file("/proc/sys/kernel/random/boot_id");
  std::string id;
  std::getline(file, id);
  return id;
}

std::string printable(std::string line) {
  for (char& c : line) {
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7F) c = '?';
  }
  return line.substr(0, kLongest);
}

// Of a process that lives; 0 when it does not, or has ended and is waited for.
std::uint64_t start_of(pid_t process) {
  std::ifstream file(fmt::format("/proc/{}/stat", process));
  std::string text;
  std::getline(file, text);
  // Its name, in brackets, may hold anything. Then come its state and, 19 words later, its start.
  const std::size_t name_end = text.rfind(')');
  if (name_end == std::string::npos) return 0;
  std::istringstream words(text.substr(name_end + 1));
  std::string word;
  words >> word;
  if (word == "Z" || word == "X") return 0;
  for (int i = 0; i < 19; ++i) words >> word;
  return words ? std::strtoull(word.c_str(), nullptr, 10) : 0;
}

// Part of a file name.
bool is_id(std::string_view text) {
  return !text.empty() && text.size() <= 32 &&
         std::all_of(text.begin(), text.end(), [](char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); });
}

}  // namespace

LockHolder LockHolder::self() {
  LockHolder self;
  std::random_device chance;
  self.id = fmt::format("{:08x}{:08x}", chance(), chance());
  self.host = host_name();
  self.boot = cskd::runtime::boot();
  self.numbers = process_namespace();
  self.process = ::getpid();
  self.started = start_of(self.process);
  self.text = fmt::format("{}, process {}, since {:%Y-%m-%d %H:%M:%S} UTC", self.host, self.process,
                          fmt::gmtime(std::time(nullptr)));
  return self;
}

LockHolder LockHolder::parse(const std::string& contents) {
  LockHolder holder;
  std::istringstream lines(contents);
  std::string first;
  std::getline(lines, first);
  holder.text = printable(first);
  holder.host = holder.text.substr(0, holder.text.find(','));
  for (std::string word; lines >> word;) {
    const std::size_t equals = word.find('=');
    if (equals == std::string::npos) continue;
    const std::string name = word.substr(0, equals);
    const std::string value = word.substr(equals + 1);
    if (name == "id" && is_id(value)) holder.id = value;
    if (name == "boot") holder.boot = value;
    if (name == "numbers") holder.numbers = value;
    if (name == "process") std::from_chars(value.data(), value.data() + value.size(), holder.process);
    if (name == "started") std::from_chars(value.data(), value.data() + value.size(), holder.started);
    if (name == "flock") holder.has_flock = value == "1";
  }
  if (holder.id.empty()) holder.id = content_hash(contents).hex();
  return holder;
}

std::string LockHolder::contents() const {
  return fmt::format("{}\nid={} process={} started={} boot={} numbers={} flock={}\n", text, id, process, started, boot,
                     numbers, has_flock ? 1 : 0);
}

bool LockHolder::is_of_this_host() const {
  return !boot.empty() && boot == cskd::runtime::boot() && host == host_name();
}

std::optional<bool> LockHolder::lives() const {
  if (!is_of_this_host() || numbers.empty() || numbers != process_namespace() || process <= 0 || started == 0)
    return std::nullopt;
  return start_of(process) == started;
}

}  // namespace cskd::runtime
