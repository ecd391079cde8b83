#include "runtime/error.h"

#include <system_error>

#include <fmt/format.h>

namespace cskd::runtime {

void throw_system_error(std::string_view what_failed, int error_number) {
  throw Error(fmt::format("{}: {}", what_failed, std::generic_category().message(error_number)));
}

void rethrow_with_context(const std::string& context) {
  ExitCode code = ExitCode::kFailure;
  try {
    throw;
  } catch (const std::exception& error) {
    code = exit_code_of(error);
  } catch (...) {  // not ours and without a message; it stays nested all the same
  }
  std::throw_with_nested(Error(context, code));
}

std::vector<std::string> messages(const std::exception& error) {
  std::vector<std::string> chain{error.what()};
  try {
    std::rethrow_if_nested(error);
  } catch (const std::exception& cause) {
    const std::vector<std::string> rest = messages(cause);
    chain.insert(chain.end(), rest.begin(), rest.end());
  } catch (...) {
    chain.emplace_back("unknown exception");
  }
  return chain;
}

ExitCode exit_code_of(const std::exception& error) noexcept {
  const auto* ours = dynamic_cast<const Error*>(&error);
  return ours != nullptr ? ours->exit_code() : ExitCode::kFailure;
}

std::string describe(const std::exception& error, int rank, int world_size) {
  return describe(messages(error), rank, world_size);
}

std::string describe(const std::vector<std::string>& messages, int rank, int world_size) {
  const std::string who = world_size > 1 ? fmt::format("cskd[rank {} of {}]", rank, world_size) : "cskd";
  std::string text = fmt::format("{}: error: {}", who, messages.front());
  for (size_t i = 1; i < messages.size(); ++i) text += fmt::format("\n{}:   because: {}", who, messages[i]);
  return text;
}

}  // namespace cskd::runtime
