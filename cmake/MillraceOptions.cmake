# Build options, compiler flags and the packages that the modules use.
option(MILLRACE_WITH_DPDK "Build the DPDK driver" ON)
option(MILLRACE_WITH_XDP "Build the AF_XDP driver (needs libxdp, libbpf and clang)" ON)
option(MILLRACE_TESTS "Build the tests" ON)
option(MILLRACE_BENCH "Build the benchmarks" ON)
option(MILLRACE_FUZZ "Build the fuzzers (clang only)" OFF)
option(MILLRACE_PLANTED "Compile the planted bugs of base/planted.h behind their switches (tests only)" OFF)
set(MILLRACE_SANITIZE "" CACHE STRING "Sanitizers, e.g. address,undefined")
set(MILLRACE_ARCH "x86-64-v2" CACHE STRING "Value of -march")

set(CMAKE_CXX_STANDARD 20)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)
set(CMAKE_RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/bin)
set(CMAKE_LIBRARY_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/lib)
set(CMAKE_ARCHIVE_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/lib)
if(NOT CMAKE_BUILD_TYPE)
  set(CMAKE_BUILD_TYPE Release)
endif()
set(CMAKE_C_FLAGS_RELEASE "-O2 -g1")
set(CMAKE_CXX_FLAGS_RELEASE "-O2 -g1")

add_library(millrace_flags INTERFACE)
target_compile_options(millrace_flags INTERFACE -Wall -Wextra -Wshadow -Wno-missing-field-initializers
                       -march=${MILLRACE_ARCH} -fno-omit-frame-pointer
                       -fno-semantic-interposition)
target_include_directories(millrace_flags INTERFACE ${CMAKE_SOURCE_DIR}/src ${CMAKE_SOURCE_DIR}/include)
if(MILLRACE_SANITIZE)
  target_compile_options(millrace_flags INTERFACE -fsanitize=${MILLRACE_SANITIZE} -fno-sanitize-recover=all)
  target_link_options(millrace_flags INTERFACE -fsanitize=${MILLRACE_SANITIZE})
  if(MILLRACE_SANITIZE MATCHES "undefined")
    # clang 14 cannot put the data of the second check before a coroutine's parts.
    target_compile_options(millrace_flags INTERFACE -fno-sanitize=vptr
                           $<$<BOOL:$<TARGET_PROPERTY:MILLRACE_COROUTINES>>:-fno-sanitize=function>)
  endif()
endif()

if(MILLRACE_PLANTED)
  target_compile_definitions(millrace_flags INTERFACE MILLRACE_PLANTED)
endif()

# Fuzzers steer by the coverage of the libraries, not only of their own file.
if(MILLRACE_FUZZ)
  target_compile_options(millrace_flags INTERFACE -fsanitize=fuzzer-no-link)
  target_link_options(millrace_flags INTERFACE -fsanitize=fuzzer-no-link)
endif()

find_program(MILLRACE_CCACHE ccache)
if(MILLRACE_CCACHE)
  # Paths relative to the build folder: every checkout and every preset with the same flags shares what was compiled.
  set(CMAKE_CXX_COMPILER_LAUNCHER env CCACHE_BASEDIR=${CMAKE_SOURCE_DIR} CCACHE_NOHASHDIR=1 ${MILLRACE_CCACHE})
  set(CMAKE_C_COMPILER_LAUNCHER ${CMAKE_CXX_COMPILER_LAUNCHER})
endif()

find_package(Threads REQUIRED)
find_package(fmt REQUIRED)
find_package(Boost REQUIRED COMPONENTS context)
find_package(PkgConfig REQUIRED)
if(MILLRACE_WITH_DPDK)
  pkg_check_modules(DPDK REQUIRED IMPORTED_TARGET libdpdk>=22.11)
endif()
if(MILLRACE_WITH_XDP)
  pkg_check_modules(XDP REQUIRED IMPORTED_TARGET libxdp>=1.2 libbpf>=1.0)
  find_program(MILLRACE_BPF_CLANG NAMES clang-14 clang-15 clang-16 clang-17 clang-18 clang-19 clang REQUIRED)
  find_path(MILLRACE_BPF_ASM_INCLUDE asm/types.h PATH_SUFFIXES ${CMAKE_LIBRARY_ARCHITECTURE} REQUIRED)
  include(MillraceBpf)
endif()
