// The compiled .proto files with their comments, part of the program.
#pragma once

#include <string_view>

namespace cskd::config {

// A serialised google.protobuf.FileDescriptorSet.
std::string_view embedded_schema();

}  // namespace cskd::config
