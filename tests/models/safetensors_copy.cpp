// safetensors_copy SOURCE TARGET [SOURCE TARGET]...: reads each source and writes what it read. A line for each pair:
// "copied", or "refused: " and the reason. Exit code 0, unless something else went wrong.
#include <cstdio>
#include <exception>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "models/safetensors.h"
#include "runtime/error.h"

namespace {

void copy(const char* source, const char* target) {
  const cskd::models::SafetensorsHeader header = cskd::models::read_safetensors_header(source);
  const std::map<std::string, at::Tensor> tensors = cskd::models::read_safetensors(source);
  cskd::models::write_safetensors(target, {tensors.begin(), tensors.end()}, header.metadata);
}

}  // namespace

int main(int argc, char** argv) {
  try {
    for (int i = 1; i + 1 < argc; i += 2) {
      try {
        copy(argv[i], argv[i + 1]);
        fmt::print("copied\n");
      } catch (const cskd::runtime::DataError& error) {
        fmt::print("refused: {}\n", error.what());
      }
    }
  } catch (const std::exception& error) {
    fmt::print(stderr, "{}\n", error.what());
    return 1;
  }
  return 0;
}
