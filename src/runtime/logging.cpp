#include "runtime/logging.h"

#include <memory>
#include <utility>
#include <vector>

#include <fmt/format.h>
#include <spdlog/pattern_formatter.h>
#include <spdlog/sinks/basic_file_sink.h>
#include <spdlog/sinks/stdout_color_sinks.h>

#include "runtime/error.h"
#include "runtime/terminal.h"

namespace cskd::runtime {
namespace {

spdlog::level::level_enum parse_level(const std::string& text) {
  if (text == "trace") return spdlog::level::trace;
  if (text == "debug") return spdlog::level::debug;
  if (text == "info") return spdlog::level::info;
  if (text == "warning") return spdlog::level::warn;
  if (text == "error") return spdlog::level::err;
  if (text == "off") return spdlog::level::off;
  throw UsageError(fmt::format("log level is '{}', expected trace, debug, info, warning, error or off", text));
}

// The message without control characters but line ends and tabs: names of files may hold what a terminal obeys.
class Printable final : public spdlog::custom_flag_formatter {
 public:
  void format(const spdlog::details::log_msg& message, const std::tm&, spdlog::memory_buf_t& target) override {
    const std::string text = printable({message.payload.data(), message.payload.size()});
    target.append(text.data(), text.data() + text.size());
  }
  std::unique_ptr<spdlog::custom_flag_formatter> clone() const override { return std::make_unique<Printable>(); }
};

std::unique_ptr<spdlog::formatter> formatter_of(const std::string& pattern) {
  auto formatter = std::make_unique<spdlog::pattern_formatter>();
  formatter->add_flag<Printable>('*').set_pattern(pattern);
  return formatter;
}

}  // namespace

void start_logging(const LogOptions& options) {
  const spdlog::level::level_enum level = parse_level(options.level);
  auto console = std::make_shared<spdlog::sinks::stderr_color_sink_mt>(
      wants_colours(Stream::kError) ? spdlog::color_mode::always : spdlog::color_mode::never);
  console->set_level(options.rank == 0 ? level : std::max(level, spdlog::level::err));
  const std::string rank = options.world_size > 1 ? fmt::format(" [rank {}]", options.rank) : std::string();
  console->set_formatter(formatter_of(fmt::format("%H:%M:%S{} %^%l%$ %*", rank)));

  std::vector<spdlog::sink_ptr> sinks{console};
  if (options.folder) {
    const std::filesystem::path file = *options.folder / fmt::format("rank-{}.log", options.rank);
    try {
      sinks.push_back(std::make_shared<spdlog::sinks::basic_file_sink_mt>(file.native()));
    } catch (const spdlog::spdlog_ex&) {
      rethrow_with_context(fmt::format("cannot open the log file {}", file.native()));
    }
    sinks.back()->set_formatter(formatter_of(fmt::format("%Y-%m-%dT%H:%M:%S.%e{} %l %*", rank)));
  }
  auto logger = std::make_shared<spdlog::logger>("cskd", sinks.begin(), sinks.end());
  logger->set_level(level);
  logger->flush_on(spdlog::level::warn);
  spdlog::set_default_logger(std::move(logger));
  spdlog::flush_every(std::chrono::seconds(3));
}

void log_to_file(const std::string& text) {
  const spdlog::details::log_msg message("cskd", spdlog::level::err, text);
  const std::vector<spdlog::sink_ptr>& sinks = spdlog::default_logger()->sinks();
  for (std::size_t i = 1; i < sinks.size(); ++i) {
    sinks[i]->log(message);
    sinks[i]->flush();
  }
}

}  // namespace cskd::runtime
