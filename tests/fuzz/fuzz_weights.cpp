// A safetensors file, or an index of such files: refused, or every tensor lies inside its file and can be read.
#include <vector>

#include "models/weights/weight_file.h"
#include "runtime/check.h"
#include "runtime/error.h"
#include "tests/fuzz/scratch_file.h"

namespace {

constexpr std::string_view kHeader =
    R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"b":{"dtype":"U8","shape":[],"data_offsets":[8,9]}})";

std::string sound_file() {
  std::string file;
  const std::uint64_t length = kHeader.size();
  file.append(reinterpret_cast<const char*>(&length), sizeof(length));
  file.append(kHeader);
  file.append(9, '\1');
  return file;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace cskd;
  if (size == 0) return 0;
  const std::filesystem::path& folder = fuzz::scratch_folder();
  const bool is_index = (data[0] & 1U) != 0;
  const std::filesystem::path path = folder / (is_index ? "m.safetensors.index.json" : "m.safetensors");
  if (is_index) fuzz::write(folder / "a.safetensors", sound_file());
  fuzz::write(path, fuzz::text_of(data + 1, size - 1));
  try {
    const models::WeightFile file(path);
    for (const auto& [name, info] : file.tensors()) {
      CSKD_CHECK(info.begin <= info.end && info.end <= size + 200, "{} lies outside", name);
      std::vector<std::byte> bytes(info.end - info.begin);
      file.read(name, 0, bytes);
    }
  } catch (const runtime::Error&) {
    return 0;
  }
  return 0;
}
