# How every library of cskd is compiled, and the one place where its dependencies are declared.

set(CMAKE_CXX_STANDARD 20)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_RUNTIME_OUTPUT_DIRECTORY "${CMAKE_BINARY_DIR}")
set(CMAKE_C_FLAGS_RELWITHDEBINFO "-O2 -g1 -DNDEBUG")
set(CMAKE_CXX_FLAGS_RELWITHDEBINFO "-O2 -g1 -DNDEBUG")

find_program(CSKD_CCACHE ccache)
if(CSKD_CCACHE)
  # pch_defines, time_macros: required for ccache to reuse objects built with a precompiled header.
  set(CMAKE_CXX_COMPILER_LAUNCHER "${CMAKE_COMMAND};-E;env;CCACHE_SLOPPINESS=pch_defines,time_macros;${CSKD_CCACHE}")
  set(CMAKE_C_COMPILER_LAUNCHER "${CMAKE_CXX_COMPILER_LAUNCHER}")
endif()

add_library(cskd_flags INTERFACE)
# No -ffast-math and no contraction into fused multiply-add: results must not depend on the processor that compiled or ran.
target_compile_options(cskd_flags INTERFACE
  -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wno-sign-conversion -Wnon-virtual-dtor -Woverloaded-virtual
  -Wno-missing-field-initializers  # members with default initialisers are left out on purpose
  -ffp-contract=off $<$<BOOL:${CSKD_WARNINGS_AS_ERRORS}>:-Werror> $<$<CONFIG:Debug>:-D_GLIBCXX_ASSERTIONS>)
if(CSKD_SANITIZER STREQUAL "address")
  add_compile_options(-fsanitize=address,undefined -fno-omit-frame-pointer -fno-sanitize-recover=undefined)
  add_link_options(-fsanitize=address,undefined)
elseif(CSKD_SANITIZER STREQUAL "thread")
  add_compile_options(-fsanitize=thread -fno-omit-frame-pointer)
  add_link_options(-fsanitize=thread)
elseif(CSKD_SANITIZER)
  message(FATAL_ERROR "CSKD_SANITIZER is '${CSKD_SANITIZER}'; it can be empty, address or thread")
endif()

# cskd_library(<name> SOURCES <file>... [DEPENDS <cskd library>...] [LINK <outside target>...] [TORCH])
#
# A static library cskd_<name> of the folder it is called in. DEPENDS is what its files may include; tests/architecture
# compares it with the include lines. TORCH links LibTorch and uses the shared precompiled headers.
function(cskd_library name)
  cmake_parse_arguments(PARSE_ARGV 1 arg "TORCH" "" "SOURCES;DEPENDS;LINK")
  add_library(cskd_${name} STATIC ${arg_SOURCES})
  target_include_directories(cskd_${name} PUBLIC "${CMAKE_SOURCE_DIR}/src")
  list(TRANSFORM arg_DEPENDS PREPEND cskd_ OUTPUT_VARIABLE libraries)
  target_link_libraries(cskd_${name} PUBLIC ${libraries} ${arg_LINK} PRIVATE cskd_flags)
  cskd_compile_together(cskd_${name} 4)
  if(arg_TORCH)
    cskd_use_torch(cskd_${name})
    set_target_properties(cskd_${name} PROPERTIES CSKD_USES_TORCH TRUE)
  endif()
  file(RELATIVE_PATH folder "${CMAKE_SOURCE_DIR}" "${CMAKE_CURRENT_SOURCE_DIR}")
  list(JOIN arg_DEPENDS "\", \"" depends)
  if(depends)
    set(depends "\"${depends}\"")
  endif()
  set_property(GLOBAL APPEND_STRING PROPERTY CSKD_DEPENDENCIES
    "  {\"library\": \"${name}\", \"folder\": \"${folder}\", \"depends\": [${depends}]},\n")
endfunction()

# cskd_compile_together(<target> <count>): compiles that many of its files at a time. Half the time of a file goes into
# headers and into templates that each file instantiates anew.
function(cskd_compile_together target count)
  set_target_properties(${target} PROPERTIES UNITY_BUILD ${CSKD_UNITY} UNITY_BUILD_BATCH_SIZE ${count})
  # A type with a member of an anonymous namespace is no fault where it stands in a file of its own.
  target_compile_options(${target} PRIVATE $<$<BOOL:${CSKD_UNITY}>:-Wno-subobject-linkage>)
endfunction()

# cskd_message(<name> <file.proto>): the library cskd_<name> with the C++ classes of one .proto file, whose path starts at
# the root for shards/ and at src/ otherwise, as include lines do.
function(cskd_message name proto)
  set(root "${CMAKE_SOURCE_DIR}/src")
  if(proto MATCHES "^shards/")
    set(root "${CMAKE_SOURCE_DIR}")
  endif()
  set(generated "${CMAKE_BINARY_DIR}/generated")
  string(REGEX REPLACE "\\.proto$" ".pb" stem "${proto}")
  file(MAKE_DIRECTORY "${generated}")
  add_custom_command(
    OUTPUT "${generated}/${stem}.cc" "${generated}/${stem}.h"
    COMMAND protobuf::protoc "--proto_path=${root}" "--cpp_out=${generated}" "${proto}"
    DEPENDS "${root}/${proto}"
    COMMENT "Compiling ${proto}"
    VERBATIM)
  add_library(cskd_${name} STATIC "${generated}/${stem}.cc" "${generated}/${stem}.h")
  target_compile_options(cskd_${name} PRIVATE -w)  # generated code is not ours to mend
  target_include_directories(cskd_${name} SYSTEM PUBLIC "${generated}")
  target_link_libraries(cskd_${name} PUBLIC protobuf::libprotobuf)
endfunction()

# LibTorch's tensors and modules and what our headers use most, precompiled. Not torch/torch.h: its templates, mostly of
# modules that nobody here uses, are instantiated again in every file and doubled the time of a build.
set(CSKD_PRECOMPILED <torch/types.h> <torch/nn/module.h>
  <algorithm> <chrono> <cmath> <filesystem> <fstream> <functional> <map> <memory> <mutex> <numeric> <optional> <ranges> <span>
  <sstream> <string> <string_view> <thread> <tuple> <unordered_map> <variant> <vector>)

# cskd_precompiled(<target> [LINK <outside target>...] [HEADERS <header>...] [OPTIONS <option>...]): makes <target> carry
# CSKD_PRECOMPILED and HEADERS, precompiled with OPTIONS, for others to reuse, who are compiled with the same options.
function(cskd_precompiled target)
  cmake_parse_arguments(PARSE_ARGV 1 arg "" "" "LINK;HEADERS;OPTIONS")
  file(WRITE "${CMAKE_BINARY_DIR}/${target}.cpp" "// Carries the precompiled headers.\n")
  add_library(${target} OBJECT "${CMAKE_BINARY_DIR}/${target}.cpp")
  target_link_libraries(${target} PRIVATE LibTorch::LibTorch cskd_flags ${arg_LINK})
  target_compile_options(${target} PRIVATE ${arg_OPTIONS})
  target_precompile_headers(${target} PRIVATE ${CSKD_PRECOMPILED} ${arg_HEADERS})
endfunction()

# cskd_use_torch(<target>): LibTorch with the precompiled headers of the program.
function(cskd_use_torch target)
  target_link_libraries(${target} PUBLIC LibTorch::LibTorch)
  if(NOT TARGET cskd_torch_header)
    cskd_precompiled(cskd_torch_header)
  endif()
  target_precompile_headers(${target} REUSE_FROM cskd_torch_header)
endfunction()

# cskd_write_dependencies(<file>): the declared dependencies as JSON, for the architecture test and docs.
function(cskd_write_dependencies file)
  get_property(entries GLOBAL PROPERTY CSKD_DEPENDENCIES)
  string(REGEX REPLACE ",\n$" "\n" entries "${entries}")
  file(CONFIGURE OUTPUT "${file}" CONTENT "[\n${entries}]\n" @ONLY)
endfunction()
