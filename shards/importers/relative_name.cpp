#include "shards/importers/relative_name.h"

#include <algorithm>

namespace cskd::shards {
namespace {

template <typename Predicate>
bool has_component(std::string_view name, Predicate predicate) {
  for (size_t start = 0; start <= name.size();) {
    const size_t end = std::min(name.find('/', start), name.size());
    if (predicate(name.substr(start, end - start))) return true;
    start = end + 1;
  }
  return false;
}

}  // namespace

bool stays_inside(std::string_view name) {
  return !name.starts_with('/') && !has_component(name, [](std::string_view part) { return part == ".."; });
}

bool is_hidden(std::string_view name) {
  return has_component(name, [](std::string_view part) { return part.starts_with('.') && part != "."; });
}

}  // namespace cskd::shards
