#include "packing/corpus_table.h"

#include <cstdint>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

namespace cskd::packing {

std::string corpus_table(const std::string& facts) {
  const nlohmann::ordered_json corpus = nlohmann::ordered_json::parse(facts);
  std::string text = fmt::format("  {:<16} {:>10} {:>11} {:>16} {:>7} {:>7} {:>12}\n", "source", "packed", "duplicates",
                                 "near duplicates", "leaked", "faulty", "passed over");
  const auto add = [&](const std::string& name, const nlohmann::ordered_json& figures) {
    const auto figure = [&](const char* key) { return figures.value(key, std::uint64_t{0}); };
    text +=
        fmt::format("  {:<16} {:>10} {:>11} {:>16} {:>7} {:>7} {:>12}\n", name, figure("packed"), figure("duplicates"),
                    figure("near_duplicates"), figure("leaked"), figure("quarantined"), figure("passed_over"));
  };
  const nlohmann::ordered_json sources = corpus.value("sources", nlohmann::ordered_json::array());
  for (const nlohmann::ordered_json& source : sources) add(source.value("name", ""), source);
  add("all", corpus);
  return text;
}

}  // namespace cskd::packing
