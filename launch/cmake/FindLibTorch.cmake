# Finds LibTorch, the CUDA runtime and NCCL inside the Python packages of CSKD_PYTHON_SITE.
#
# Note [LibTorch without its CMake files]
# Torch's own package files demand an installed CUDA toolkit and the CMake language CUDA, define a dummy
# protobuf::libprotobuf, and put old copies of google/protobuf and fmt in front of the system's. We need none of it: headers
# go behind the system's with -idirafter, libraries are linked by path.
#
# Note [libstdc++ before LibTorch]
# libtorch.so and libtorch_cpu.so carry and export a std::filesystem of another GCC. Linked before libstdc++, their copy is the one
# that our code binds to, and std::filesystem::remove_all jumps to address 0. So libstdc++ comes first on the link line.
#
# Result: LibTorch_FOUND, LibTorch_VERSION, LibTorch_CUDA (TRUE for a CUDA build with NCCL), targets LibTorch::LibTorch and,
# when LibTorch_CUDA, LibTorch::Nccl.

include(FindPackageHandleStandardArgs)

set(_torch "${CSKD_PYTHON_SITE}/torch")
set(_cuda "${CSKD_PYTHON_SITE}/nvidia/cu13")
set(_nccl "${CSKD_PYTHON_SITE}/nvidia/nccl")

find_path(LibTorch_INCLUDE_DIR torch/headeronly/version.h PATHS "${_torch}/include" NO_DEFAULT_PATH NO_CACHE)
find_library(LibTorch_CPU_LIBRARY torch_cpu PATHS "${_torch}/lib" NO_DEFAULT_PATH NO_CACHE)
find_library(LibTorch_C10_LIBRARY c10 PATHS "${_torch}/lib" NO_DEFAULT_PATH NO_CACHE)

if(LibTorch_INCLUDE_DIR)
  set(_parts)
  foreach(_part IN ITEMS MAJOR MINOR PATCH)
    file(STRINGS "${LibTorch_INCLUDE_DIR}/torch/headeronly/version.h" _line REGEX "#define TORCH_VERSION_${_part} [0-9]+")
    string(REGEX MATCH "[0-9]+$" _number "${_line}")
    list(APPEND _parts "${_number}")
  endforeach()
  list(JOIN _parts "." LibTorch_VERSION)
endif()

find_package_handle_standard_args(LibTorch
  REQUIRED_VARS LibTorch_CPU_LIBRARY LibTorch_C10_LIBRARY LibTorch_INCLUDE_DIR
  VERSION_VAR LibTorch_VERSION
  REASON_FAILURE_MESSAGE "run launch/setup.sh, or pass -DCSKD_PYTHON_SITE=<folder that contains torch/>")

set(LibTorch_CUDA FALSE)
if(EXISTS "${_torch}/lib/libtorch_cuda.so" AND EXISTS "${_nccl}/include/nccl.h"
    AND EXISTS "${_cuda}/include/cuda_runtime_api.h")
  set(LibTorch_CUDA TRUE)
endif()

if(LibTorch_FOUND AND NOT TARGET LibTorch::LibTorch)
  add_library(LibTorch::LibTorch INTERFACE IMPORTED)
  target_compile_options(LibTorch::LibTorch INTERFACE
    "SHELL:-idirafter '${_torch}/include'"
    "SHELL:-idirafter '${_torch}/include/torch/csrc/api/include'")
  target_link_options(LibTorch::LibTorch INTERFACE
    "SHELL:-Wl,--push-state,--no-as-needed -lstdc++ -Wl,--pop-state"
    "LINKER:-rpath,${_torch}/lib" "LINKER:--allow-shlib-undefined")
  if(LibTorch_CUDA)
    # libtorch_cuda registers its kernels when it is loaded; no symbol of ours refers to it, hence --no-as-needed.
    target_compile_options(LibTorch::LibTorch INTERFACE
      "SHELL:-idirafter '${_cuda}/include'" "SHELL:-idirafter '${_cuda}/include/cccl'")
    target_link_options(LibTorch::LibTorch INTERFACE "LINKER:-rpath,${_cuda}/lib")
    target_link_libraries(LibTorch::LibTorch INTERFACE
      -Wl,--push-state,--no-as-needed
      "${_torch}/lib/libtorch.so" "${LibTorch_CPU_LIBRARY}" "${_torch}/lib/libtorch_cuda.so"
      "${LibTorch_C10_LIBRARY}" "${_torch}/lib/libc10_cuda.so"
      -Wl,--pop-state
      "${_cuda}/lib/libcudart.so.13" Threads::Threads)
    add_library(LibTorch::Nccl INTERFACE IMPORTED)
    target_compile_options(LibTorch::Nccl INTERFACE "SHELL:-idirafter '${_nccl}/include'")
    target_link_libraries(LibTorch::Nccl INTERFACE LibTorch::LibTorch "${_nccl}/lib/libnccl.so.2")
    target_link_options(LibTorch::Nccl INTERFACE "LINKER:-rpath,${_nccl}/lib")
  else()
    target_link_libraries(LibTorch::LibTorch INTERFACE
      -Wl,--push-state,--no-as-needed "${LibTorch_CPU_LIBRARY}" "${LibTorch_C10_LIBRARY}" -Wl,--pop-state Threads::Threads)
  endif()
endif()
