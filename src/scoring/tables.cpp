#include "scoring/tables.h"

#include <algorithm>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "runtime/csv_field.h"
#include "runtime/error.h"
#include "runtime/terminal.h"

namespace cskd::scoring {
namespace {

constexpr const char* kCsvHeader = "photo,score,spread,error\n";
constexpr const char* kCsvBurstHeader = "photo,score,spread,error,burst,burst_best\n";

// The first field of each line, which csv_field() wrote: it may hold ends of lines.
std::set<std::string> names_in_csv(const std::string& text, const std::string& file, std::size_t& whole) {
  const std::string header = kCsvHeader;
  if (!text.starts_with(header) && !header.starts_with(text))
    throw runtime::DataError(fmt::format("{} is no list of scores: its first line is not {}", file, header));
  std::set<std::string> names;
  whole = std::min(header.size(), text.size());
  if (whole < header.size()) whole = 0;
  while (whole < text.size() && whole > 0) {
    std::size_t at = whole;
    if (text[at] != '"') throw runtime::DataError(fmt::format("{} is damaged at byte {}", file, at));
    std::string name;
    bool is_closed = false;
    for (++at; at < text.size(); ++at) {
      if (text[at] == '"') {
        if (at + 1 >= text.size() || text[at + 1] != '"') {
          is_closed = true;
          break;
        }
        ++at;
      }
      name += text[at];
    }
    // The error, the last field, is quoted as well, and may hold ends of lines.
    bool is_inside = false;
    std::size_t end = at + 1;
    for (; is_closed && end < text.size(); ++end) {
      if (text[end] == '"') is_inside = !is_inside;
      if (text[end] == '\n' && !is_inside) break;
    }
    if (!is_closed || end >= text.size()) break;  // cut off
    names.insert(name);
    whole = end + 1;
  }
  return names;
}

std::set<std::string> names_in_json(const std::string& text, const std::string& file, std::size_t& whole) {
  std::set<std::string> names;
  whole = 0;
  for (std::size_t end = text.find('\n'); end != std::string::npos; end = text.find('\n', whole)) {
    try {
      names.insert(nlohmann::json::parse(text.substr(whole, end - whole)).at("photo").get<std::string>());
    } catch (const nlohmann::json::exception& error) {
      throw runtime::DataError(
          fmt::format("{} is no list of scores: the line at byte {}: {}", file, whole, error.what()));
    }
    whole = end + 1;
  }
  return names;
}

}  // namespace

std::string header_text(TableFormat format, bool has_bursts) {
  if (format == TableFormat::kCsv) return has_bursts ? kCsvBurstHeader : kCsvHeader;
  return format == TableFormat::kTable ? fmt::format("  {:>7} {:>7}  photo\n", "score", "spread") : "";
}

std::string row_text(TableFormat format, const ScoredPhoto& photo, int columns, bool has_bursts) {
  const bool has_score = photo.error.empty();
  const bool is_in_burst = photo.place.burst > 0;
  switch (format) {
    case TableFormat::kCsv: {
      std::string row =
          has_score ? fmt::format("{},{:.6f},{:.6f},", runtime::csv_field(photo.name), photo.score, photo.spread)
                    : fmt::format("{},,,{}", runtime::csv_field(photo.name), runtime::csv_field(photo.error));
      if (has_bursts && is_in_burst) row += fmt::format(",{},{}", photo.place.burst, photo.place.is_best ? 1 : 0);
      if (has_bursts && !is_in_burst) row += ",,";
      return row + "\n";
    }
    case TableFormat::kJsonLines: {
      nlohmann::ordered_json line{{"photo", photo.name}};
      if (has_score) {
        line["score"] = photo.score;
        line["spread"] = photo.spread;
        line["distribution"] = photo.distribution;
        if (has_bursts && is_in_burst) {
          line["burst"] = photo.place.burst;
          line["burst_best"] = photo.place.is_best;
        }
      } else {
        line["error"] = photo.error;
      }
      // Names of files are bytes: what is not UTF-8 is replaced.
      return line.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
    }
    case TableFormat::kTable:
      break;
  }
  constexpr int kBeforeName = 19;
  std::string name = runtime::printable(photo.name);
  std::replace(name.begin(), name.end(), '\n', ' ');
  if (!has_score) return fmt::format("  {:>7} {:>7}  {}: {}\n", "-", "-", name, runtime::printable(photo.error));
  if (has_bursts && is_in_burst) name += fmt::format(" (best of {})", photo.place.size);
  const auto room = static_cast<std::size_t>(std::max(columns - kBeforeName, 20));
  if (name.size() > room) name = "..." + name.substr(name.size() - room + 3);
  return fmt::format("  {:>7.3f} {:>7.3f}  {}\n", photo.score, photo.spread, name);
}

std::set<std::string> names_in(TableFormat format, const std::string& text, const std::string& file,
                               std::size_t& whole) {
  return format == TableFormat::kJsonLines ? names_in_json(text, file, whole) : names_in_csv(text, file, whole);
}

}  // namespace cskd::scoring
