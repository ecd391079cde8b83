#include "report/event_file.h"

#include <algorithm>
#include <charconv>
#include <system_error>

#include <fmt/format.h>
#include <unistd.h>

#include "report/appended_file.h"
#include "report/event_record.h"
#include "runtime/host.h"
#include "runtime/unix_time.h"

namespace cskd::report {
namespace {

// TensorBoard reads the files of a folder by name, and a session start concerns those before it. So the new name sorts
// behind the others, also when starts share a second, clocks differ or one was set back.
std::filesystem::path next_path(const std::filesystem::path& folder) {
  constexpr std::string_view kPrefix = "events.out.tfevents.";
  auto seconds = std::max<std::int64_t>(0, static_cast<std::int64_t>(runtime::unix_time()));
  int files = 0;
  std::error_code failure;  // of a missing or unusable folder; creating the file will tell
  for (std::filesystem::directory_iterator entry(folder, failure), end; !failure && entry != end;
       entry.increment(failure)) {
    const std::string name = entry->path().filename().native();
    if (!name.starts_with(kPrefix)) continue;
    ++files;
    std::int64_t earlier = 0;
    const std::string digits = name.substr(kPrefix.size(), 10);
    std::from_chars(digits.data(), digits.data() + digits.size(), earlier);
    seconds = std::max(seconds, earlier + 1);
  }
  return folder / fmt::format("{}{:010}.{}.{}.{}", kPrefix, seconds, runtime::host_name(), ::getpid(), files);
}

}  // namespace

struct EventFile::State {
  AppendedFile file;
};

EventFile::EventFile(const std::filesystem::path& folder)
    : state_(new State{AppendedFile(next_path(folder), "event_file.write")}) {
  append(version_record(runtime::unix_time()));
}

EventFile::~EventFile() = default;

void EventFile::add_session_start(std::int64_t step) { append(session_start_record(runtime::unix_time(), step)); }

void EventFile::add_scalar(std::string_view tag, std::int64_t step, double value) {
  append(scalar_record(runtime::unix_time(), step, tag, static_cast<float>(value)));
}

void EventFile::add_histogram(std::string_view tag, std::int64_t step, const Histogram& histogram) {
  append(histogram_record(runtime::unix_time(), step, tag, histogram));
}

void EventFile::add_image(std::string_view tag, std::int64_t step, int width, int height, std::string_view png) {
  append(image_record(runtime::unix_time(), step, tag, width, height, png));
}

void EventFile::append(std::string_view records) { state_->file.append(records); }

const std::filesystem::path& EventFile::path() const noexcept { return state_->file.path(); }

}  // namespace cskd::report
