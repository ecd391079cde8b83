// A status for people.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "report/complete_stages.h"
#include "report/health.h"
#include "report/status.h"

namespace cskd::report {

struct StatusView {
  std::optional<int> columns;  // of the terminal, which no line exceeds; none: away from a terminal
  bool has_colours = false;
  double now = 0;  // Unix seconds
};

// Some lines. Control characters of the status are replaced.
std::string status_text(const std::filesystem::path& run, const Status& status, const Health& health,
                        const std::vector<CompleteStage>& complete, const StatusView& view);

// One line without line end and without ages: the same for as long as nothing happens.
std::string status_line(const Status& status, const Health& health);

}  // namespace cskd::report
