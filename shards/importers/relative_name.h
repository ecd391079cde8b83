// Names of pictures as lists and archives give them.
#pragma once

#include <string_view>

namespace cskd::shards {

// Whether the name is relative and has no component "..".
bool stays_inside(std::string_view name);

// Whether a component of the name is hidden: begins with a dot, and is not "." itself.
bool is_hidden(std::string_view name);

}  // namespace cskd::shards
