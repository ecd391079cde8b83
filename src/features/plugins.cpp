#include "features/plugins.h"

#include <algorithm>
#include <exception>
#include <filesystem>

#include <fmt/format.h>

#include "models/plugin/plugin.h"
#include "runtime/error.h"

namespace cskd::features {
namespace {

models::PluginDescription description_of(const config::PluginFacts& facts, const std::string& table) {
  models::PluginDescription description;
  const auto given = [](int number) { return number < 0 ? std::optional<int>() : number; };
  description.pooled_output = given(facts.pooled_output());
  description.token_output = given(facts.token_output());
  description.skipped_tokens = given(facts.skipped_tokens());
  if (facts.mean().empty() && facts.stddev().empty()) return description;
  if (facts.mean_size() != 3 || facts.stddev_size() != 3) {
    throw runtime::UsageError(
        fmt::format("{}.plugin_facts: mean and stddev are lists of three numbers, and are given together", table));
  }
  models::Normalisation normalisation{};
  for (int i = 0; i < 3; ++i) {
    normalisation.mean[static_cast<std::size_t>(i)] = static_cast<float>(facts.mean(i));
    normalisation.stddev[static_cast<std::size_t>(i)] = static_cast<float>(facts.stddev(i));
  }
  description.normalisation = normalisation;
  return description;
}

template <typename Table>
void load(Table& table, const std::string& list) {
  const std::string name = fmt::format("{}.{}", list, table.name());
  const bool has_facts = table.plugin_facts().pooled_output() >= 0 || table.plugin_facts().token_output() >= 0 ||
                         table.plugin_facts().skipped_tokens() >= 0 || !table.plugin_facts().mean().empty() ||
                         !table.plugin_facts().stddev().empty();
  if (table.plugin().empty()) {
    if (has_facts) throw runtime::UsageError(fmt::format("{0}.plugin_facts is given, but {0}.plugin is not", name));
    return;
  }
  if (!std::filesystem::exists(table.plugin()))
    throw runtime::UsageError(fmt::format("{}.plugin: there is no file {}", name, table.plugin()));
  std::string architecture;
  try {
    architecture = models::register_plugin(table.plugin(), description_of(table.plugin_facts(), name));
  } catch (const std::exception&) {
    runtime::rethrow_with_context(fmt::format("the plug-in of {} cannot be used", name));
  }
  if (!table.architecture().empty() && table.architecture() != architecture) {
    throw runtime::UsageError(
        fmt::format("{0}.architecture is '{1}', but {0}.plugin holds '{2}': give one of the two keys", name,
                    table.architecture(), architecture));
  }
  table.set_architecture(architecture);
  if (table.weights().empty()) table.set_weights(table.plugin());
}

}  // namespace

void load_plugins(config::Config& config) {
  for (config::Tower& tower : *config.mutable_towers()) load(tower, "towers");
  for (config::Encoder& encoder : *config.mutable_encoders()) load(encoder, "encoders");
}

}  // namespace cskd::features
