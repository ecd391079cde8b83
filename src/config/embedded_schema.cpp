#include "config/embedded_schema.h"

#include <cstddef>

// The assembler puts the file between these two, CMake names it in CSKD_SCHEMA_FILE.
__asm__(
    ".pushsection .rodata\n"
    "cskd_schema_begin: .incbin \"" CSKD_SCHEMA_FILE
    "\"\n"
    "cskd_schema_end: .byte 0\n"
    ".popsection\n");

extern "C" {
extern const char cskd_schema_begin[];
extern const char cskd_schema_end[];
}

namespace cskd::config {

std::string_view embedded_schema() {
  return {cskd_schema_begin, static_cast<std::size_t>(cskd_schema_end - cskd_schema_begin)};
}

}  // namespace cskd::config
