// Members of an archive lie inside of it, whatever the archive says.
#include "runtime/check.h"
#include "runtime/error.h"
#include "shards/importers/tar_index.h"
#include "tests/fuzz/scratch_file.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace cskd;
  const std::filesystem::path path = fuzz::write(fuzz::scratch_folder() / "a.tar", fuzz::text_of(data, size));
  try {
    for (const shards::TarMember& member : shards::index_tar(runtime::InputFile(path))) {
      CSKD_CHECK(member.offset <= size && member.size <= size - member.offset, "{} lies outside", member.name);
    }
  } catch (const runtime::Error&) {
    return 0;
  }
  return 0;
}
