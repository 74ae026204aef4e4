# One library per folder of src/. Sources are globbed, so a new file needs no edit here; a folder without
# sources becomes a header-only library.

# millrace_module(<folder> [UNITY] [DEPS <folder>...] [LIBS <target>...])
function(millrace_module folder)
  cmake_parse_arguments(ARG "CORE;UNITY" "" "DEPS;LIBS" ${ARGN})
  string(REPLACE "/" "_" id ${folder})
  set(target millrace_${id})
  file(GLOB sources CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/src/${folder}/*.cc
       ${CMAKE_SOURCE_DIR}/src/${folder}/*/*.cc)
  if(folder STREQUAL "drivers")
    set(sources "")
  endif()
  set(links millrace_flags ${ARG_LIBS})
  foreach(dep ${ARG_DEPS})
    string(REPLACE "/" "_" dep_id ${dep})
    list(APPEND links millrace_${dep_id})
  endforeach()
  if(sources)
    add_library(${target} STATIC ${sources})
    target_link_libraries(${target} PUBLIC ${links})
    if(ARG_CORE)
      target_compile_options(${target} PRIVATE -fno-exceptions)
    endif()
    if(ARG_UNITY)  # one translation unit, so that the packet path is inlined across its files
      set_target_properties(${target} PROPERTIES UNITY_BUILD ON UNITY_BUILD_BATCH_SIZE 0)
      target_compile_options(${target} PRIVATE $<$<CONFIG:Release>:-O3$<SEMICOLON>-fomit-frame-pointer>)
    endif()
  else()
    add_library(${target} INTERFACE)
    target_link_libraries(${target} INTERFACE ${links})
  endif()
endfunction()

# The core has no exceptions, clock, thread or system call; tests/lint checks the latter three.
function(millrace_core_module folder)
  millrace_module(${folder} CORE ${ARGN})
endfunction()
