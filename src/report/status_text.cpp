#include "report/status_text.h"

#include <algorithm>
#include <cmath>
#include <string_view>
#include <utility>

#include <fmt/format.h>

#include "report/number_text.h"
#include "report/progress.h"

namespace cskd::report {
namespace {

constexpr int kNoColour = 0;
constexpr int kRed = 31;
constexpr int kGreen = 32;
constexpr int kYellow = 33;
constexpr int kLabelWidth = 12;  // columns
constexpr int kWidestBar = 30;
constexpr int kNarrowestBar = 10;
constexpr std::size_t kMostShownFigures = 8;
constexpr std::size_t kLongestShownName = 80;  // characters
constexpr std::size_t kLongestShownMessage = 1000;

bool continues_character(char byte) { return (static_cast<unsigned char>(byte) & 0xC0) == 0x80; }

int width_of(std::string_view text) {
  return static_cast<int>(
      std::count_if(text.begin(), text.end(), [](char byte) { return !continues_character(byte); }));
}

// The first `longest` characters (UTF-8).
std::string_view first_characters(std::string_view text, int longest) {
  std::size_t end = 0;
  for (int count = 0; end < text.size(); ++end) {
    if (!continues_character(text[end]) && count++ == longest) break;
  }
  return text.substr(0, end);
}

// One line that does not steer a terminal: no control characters, neither of ASCII nor of Latin-1 (U+0080 to U+009F).
std::string harmless(std::string_view text, std::size_t longest) {
  const std::string_view head = first_characters(text, static_cast<int>(longest));
  std::string result;
  for (std::size_t i = 0; i < head.size(); ++i) {
    const auto byte = static_cast<unsigned char>(head[i]);
    const bool is_latin = byte == 0xC2 && i + 1 < head.size() && static_cast<unsigned char>(head[i + 1]) < 0xA0;
    if (byte == '\n') {
      result += "; ";
    } else if (byte < 0x20 || byte == 0x7F || is_latin) {
      result += '?';
      if (is_latin) ++i;
    } else {
      result += head[i];
    }
  }
  return head.size() < text.size() ? result + "..." : result;
}

std::string name_text(std::string_view text) { return harmless(text, kLongestShownName); }

std::string rate_text(double rate) {
  if (!(rate >= 0 && rate < 1e15)) return "-";
  return rate >= 10 ? with_commas(std::llround(rate)) : fmt::format("{:.1f}", rate);
}

std::string plural(std::int64_t count, std::string_view one) {
  return fmt::format("{} {}{}", with_commas(count), one, count == 1 ? "" : "s");
}

double share(const Status& status) {
  return std::clamp(static_cast<double>(status.step) / static_cast<double>(status.steps), 0.0, 1.0);
}

std::string steps_text(const Status& status) {
  const std::string unit = name_text(status.unit);
  if (status.steps == 0) return fmt::format("{} {}", with_commas(status.step), unit);
  return fmt::format("{} of {} {}   {:.0f} %", with_commas(status.step), with_commas(status.steps), unit,
                     std::floor(share(status) * 100));
}

std::string figures_text(const Status::Validation& validation) {
  std::string text;
  std::size_t shown = 0;
  for (const auto& [key, value] : validation.figures) {
    if (shown++ == kMostShownFigures) return text + ", ...";
    constexpr std::string_view kPrefix = "validation/";
    const std::string_view name = key.starts_with(kPrefix) ? std::string_view(key).substr(kPrefix.size()) : key;
    text += fmt::format("{}{} {:.4g}", text.empty() ? "" : ", ", name_text(name), value);
  }
  return text;
}

std::string goodput_text(const Goodput& goodput, const std::string& stage) {
  std::string text = fmt::format("{:.0f} %", std::floor(goodput.share() * 100));
  if (goodput.stage != stage) text += fmt::format(" of {}", name_text(goodput.stage));
  text += ", " + plural(goodput.starts, "start");
  if (goodput.lost_steps > 0) text += fmt::format(", {} done again", plural(goodput.lost_steps, "step"));
  return text;
}

int colour_of(Verdict verdict) {
  switch (verdict) {
    case Verdict::kHealthy:
    case Verdict::kFinished:
      return kGreen;
    case Verdict::kStalled:
    case Verdict::kStopped:
      return kYellow;
    case Verdict::kSilent:
    case Verdict::kFailed:
      break;
  }
  return kRed;
}

// Lines that fit the view.
class Block {
 public:
  explicit Block(const StatusView& view) : view_(view) {}

  void line(const std::string& text) { text_ += std::string(fitting(text, 0)) + "\n"; }

  // "  label       value", the value in colour.
  void row(std::string_view label, const std::string& value, int colour = kNoColour) {
    const std::string begin = fmt::format("  {:<{}}", label, kLabelWidth);
    const std::string_view shown = fitting(value, kLabelWidth + 2);
    text_ += fitting(begin, 0);
    text_ += colour != kNoColour && view_.has_colours ? fmt::format("\x1b[{}m{}\x1b[0m", colour, shown) : shown;
    text_ += "\n";
  }

  std::string take() { return std::move(text_); }

 private:
  std::string_view fitting(std::string_view text, int before) const {
    return view_.columns ? first_characters(text, std::max(0, *view_.columns - before)) : text;
  }

  const StatusView& view_;
  std::string text_;
};

void add_bar(Block& block, const Status& status, const StatusView& view) {
  const std::string text = steps_text(status);
  const int room = view.columns ? std::min(kWidestBar, *view.columns - width_of(text) - 5) : 0;
  const bool has_bar = status.steps > 0 && room >= kNarrowestBar;
  block.line(has_bar ? fmt::format("  {}   {}", progress_bar(share(status), room), text) : "  " + text);
}

void add_training(Block& block, const Status& status, double now) {
  if (status.images_per_second) {
    std::string speed = rate_text(*status.images_per_second) + " images/s";
    if (status.state == RunState::kRunning && status.seconds_left)
      speed += fmt::format(", {} left", duration_text(*status.seconds_left));
    block.row("speed", speed);
  } else if (status.state == RunState::kRunning && status.seconds_left) {
    block.row("time left", duration_text(*status.seconds_left));
  }
  if (status.loss)
    block.row("loss", fmt::format("{:.4g}", *status.loss), std::isfinite(*status.loss) ? kNoColour : kRed);
  if (status.validation) {
    block.row("validation",
              fmt::format("{}   at step {}", figures_text(*status.validation), with_commas(status.validation->step)));
  }
  if (status.checkpoint) {
    block.row("checkpoint", fmt::format("step {}, {} ago", with_commas(status.checkpoint->step),
                                        duration_text(now - status.checkpoint->time)));
  }
  if (status.goodput && (status.goodput->stage == status.stage || !status.goodput->ended))
    block.row("goodput", goodput_text(*status.goodput, status.stage));
  std::string left_out;
  if (status.skipped_steps > 0) left_out = plural(status.skipped_steps, "step");
  if (status.damaged_pictures > 0)
    left_out += fmt::format("{}{}", left_out.empty() ? "" : ", ", plural(status.damaged_pictures, "damaged picture"));
  if (!left_out.empty()) block.row("left out", left_out, kYellow);
}

}  // namespace

std::string status_text(const std::filesystem::path& run, const Status& status, const Health& health,
                        const std::vector<CompleteStage>& complete, const StatusView& view) {
  const bool is_alive = health.verdict == Verdict::kHealthy || health.verdict == Verdict::kStalled;
  // While it lives, by the clock of its host; Note [Clocks and signs of life].
  const double now = is_alive ? status.updated : view.now;
  Block block(view);
  block.line(fmt::format("{}   {}   {}", name_text(run.native()), name_text(status.stage), to_string(status.state)));
  add_bar(block, status, view);
  block.line("");
  add_training(block, status, now);
  std::string text = harmless(health.text, kLongestShownMessage);
  if (health.verdict == Verdict::kHealthy && status.steps > 0)
    text += fmt::format(", last step {} ago", duration_text(now - status.last_step_time));
  block.row("health", text, colour_of(health.verdict));
  for (const std::string& warning : status.warnings)
    block.row(&warning == &status.warnings.front() ? "look at" : "", harmless(warning, kLongestShownMessage), kYellow);
  const std::string job =
      fmt::format("{}, process {} on {}", plural(status.ranks, "rank"), status.pid, name_text(status.host));
  const double ran = status.updated - status.started;
  block.row("job", is_alive ? fmt::format("{}, for {}", job, duration_text(ran))
                            : fmt::format("{}, for {} until {} ago", job, duration_text(ran),
                                          duration_text(now - status.updated)));
  std::size_t width = 0;
  for (const CompleteStage& stage : complete) width = std::max(width, name_text(stage.stage).size());
  for (const CompleteStage& stage : complete) {
    block.row(&stage == &complete.front() ? "complete" : "",
              fmt::format("{:<{}}   {}", name_text(stage.stage), width, duration_text(stage.seconds)));
  }
  return block.take();
}

std::string status_line(const Status& status, const Health& health) {
  std::string line = fmt::format("{}   {}", name_text(status.stage), steps_text(status));
  if (status.images_per_second) line += fmt::format("   {} images/s", rate_text(*status.images_per_second));
  if (status.loss) line += fmt::format("   loss {:.4g}", *status.loss);
  if (status.validation) line += "   " + figures_text(*status.validation);
  return line + "   " +
         (health.verdict == Verdict::kFailed ? "failed: " + harmless(health.text, kLongestShownMessage)
                                             : std::string(to_string(health.verdict)));
}

}  // namespace cskd::report
