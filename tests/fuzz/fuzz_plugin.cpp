// A .pt2 file: refused, or a program whose parts refer to what is there, and weights that lie inside the file.
#include "models/plugin/plugin_file.h"
#include "models/plugin/program_reader.h"
#include "runtime/check.h"
#include "runtime/error.h"
#include "tests/fuzz/scratch_file.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace cskd;
  if (size == 0) return 0;
  const std::string text(fuzz::text_of(data + 1, size - 1));
  try {
    // The program by itself: a mutation inside an archive mostly ends at its checksum.
    if ((data[0] & 1U) != 0) {
      const models::Program program = models::read_program(text, "m.pt2");
      const models::Program again = models::read_program(models::shortened_program(text, "m.pt2"), "m.pt2");
      CSKD_CHECK(program.nodes.size() == again.nodes.size() && program.values == again.values, "shortened to another");
      for (const models::Value output : program.outputs) CSKD_CHECK(output >= 0 && output < program.values, "output");
      return 0;
    }
    const std::filesystem::path path = fuzz::scratch_folder() / "m.pt2";
    fuzz::write(path, text);
    const models::PluginFile file(path);
    for (const auto& tensors : {file.weights(), file.constants()}) {
      for (const auto& [name, info] : tensors) {
        CSKD_CHECK(info.begin <= info.end && info.end <= size, "{} lies outside", name);
        file.read(info);
      }
    }
    models::read_program(file.program(), "m.pt2");
  } catch (const runtime::Error&) {
    return 0;
  }
  return 0;
}
