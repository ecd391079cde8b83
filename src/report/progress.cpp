#include "report/progress.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <utility>

#include <fmt/format.h>

#include "report/number_text.h"
#include "runtime/terminal.h"

namespace cskd::report {
namespace {

Progress::Terminal standard_error() {
  Progress::Terminal terminal;
  terminal.is_terminal = runtime::is_terminal(runtime::Stream::kError);
  terminal.columns = runtime::terminal_columns(runtime::Stream::kError);
  terminal.write = [](const std::string& text) {
    std::fwrite(text.data(), 1, text.size(), stderr);
    std::fflush(stderr);
  };
  return terminal;
}

}  // namespace

std::string progress_bar(double fraction, int width) {
  const int full = static_cast<int>(std::lround(fraction * width));
  std::string text;
  for (int i = 0; i < width; ++i) text += i < full ? "█" : "░";
  return text;
}

std::string progress_line(const std::string& label, const std::string& unit, std::int64_t done, std::int64_t total,
                          std::chrono::duration<double> elapsed, std::int64_t before) {
  const double fraction = total > 0 ? static_cast<double>(done) / static_cast<double>(total) : 1.0;
  std::string line = fmt::format("{}   {} of {} {}   {:.0f} %", label, with_commas(done), with_commas(total), unit,
                                 std::floor(fraction * 100));
  constexpr double kShortest = 0.1;  // seconds from which on a rate says something
  const double rate = elapsed.count() >= kShortest ? static_cast<double>(done - before) / elapsed.count() : 0;
  if (rate <= 0) return line;
  line += fmt::format("   {} {}/s", rate >= 10 ? with_commas(std::lround(rate)) : fmt::format("{:.1f}", rate), unit);
  if (done < total) return line + fmt::format("   {} left", duration_text(static_cast<double>(total - done) / rate));
  return line + fmt::format("   in {}", duration_text(elapsed.count()));
}

Progress::Progress(std::string label, std::string unit, std::int64_t before)
    : Progress(std::move(label), std::move(unit), standard_error(), std::chrono::seconds(5), before) {}

Progress::Progress(std::string label, std::string unit, Terminal terminal, std::chrono::milliseconds plain_interval,
                   std::int64_t before)
    : label_(std::move(label)),
      unit_(std::move(unit)),
      before_(before),
      terminal_(std::move(terminal)),
      plain_interval_(plain_interval),
      start_(std::chrono::steady_clock::now()) {}

Progress::~Progress() {
  if (bar_drawn_) terminal_.write("\n");
}

void Progress::update(std::int64_t done, std::int64_t total) {
  const auto now = std::chrono::steady_clock::now();
  const std::chrono::milliseconds interval = terminal_.is_terminal ? std::chrono::milliseconds(100) : plain_interval_;
  if (finished_ || (last_ && done < total && now - *last_ < interval)) return;
  if (!last_ && !terminal_.is_terminal && done < total && now - start_ < interval) return;
  last_ = now;
  finished_ = done >= total;
  const std::string line = progress_line(label_, unit_, done, total, now - start_, before_);
  if (!terminal_.is_terminal) {
    terminal_.write(line + "\n");
    return;
  }
  const int bar_width = std::min(30, terminal_.columns - static_cast<int>(line.size()) - 4);
  const double fraction = total > 0 ? static_cast<double>(done) / static_cast<double>(total) : 1.0;
  const std::string drawn = bar_width >= 5 ? progress_bar(fraction, bar_width) + "  " + line : line;
  terminal_.write("\r\x1b[K" + drawn);
  bar_drawn_ = true;
}

}  // namespace cskd::report
