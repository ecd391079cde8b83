#include "doctor/versions.h"

#include <cstddef>
#include <cstdio>

#include <CLI/Version.hpp>
#include <archive.h>
#include <fmt/format.h>
#include <google/protobuf/stubs/common.h>
#include <hdf5.h>
#include <jpeglib.h>
#include <nlohmann/json.hpp>
#include <spdlog/version.h>
#include <spng.h>
#include <toml++/impl/version.h>
#include <webp/encode.h>
#include <xxhash.h>

#include "distributed/devices/accelerators.h"
#include "distributed/devices/cpu_compute.h"
#include "runtime/world.h"

#define CSKD_TEXT(x) #x
#define CSKD_VALUE_TEXT(x) CSKD_TEXT(x)

namespace cskd::doctor {
namespace {

std::string hdf5_version() {
  unsigned major = 0;
  unsigned minor = 0;
  unsigned release = 0;
  if (H5get_libversion(&major, &minor, &release) < 0) return "unknown";
  return fmt::format("{}.{}.{}", major, minor, release);
}

std::string triple(int number, int base) {
  return fmt::format("{}.{}.{}", number / base / base, number / base % base, number % base);
}

}  // namespace

std::string program_version() { return CSKD_VERSION; }

std::vector<LibraryVersion> library_versions() {
  const std::string cuda = distributed::find_accelerators().cuda_runtime;
  return {
      {"LibTorch", distributed::libtorch_version()},
      {"CUDA runtime", cuda.empty() ? "none" : cuda},
      {"NCCL", distributed::nccl_version()},
      {"MPI", runtime::mpi_library_version()},
      {"HDF5", hdf5_version()},
      {"protobuf", google::protobuf::internal::VersionString(GOOGLE_PROTOBUF_VERSION)},
      {"toml++", fmt::format("{}.{}.{}", TOML_LIB_MAJOR, TOML_LIB_MINOR, TOML_LIB_PATCH)},
      {"CLI11", CLI11_VERSION},
      {"nlohmann/json",
       fmt::format("{}.{}.{}", NLOHMANN_JSON_VERSION_MAJOR, NLOHMANN_JSON_VERSION_MINOR, NLOHMANN_JSON_VERSION_PATCH)},
      {"spdlog", triple(SPDLOG_VERSION, 100)},
      {"fmt", triple(FMT_VERSION, 100)},
      {"libjpeg-turbo", CSKD_VALUE_TEXT(LIBJPEG_TURBO_VERSION)},
      {"libspng", spng_version_string()},
      {"libwebp", triple(WebPGetEncoderVersion(), 256)},
      {"libarchive", triple(archive_version_number(), 1000)},
      {"xxHash", triple(static_cast<int>(XXH_versionNumber()), 100)},
  };
}

}  // namespace cskd::doctor
