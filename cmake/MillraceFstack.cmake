# libfstack: F-Stack's functions under the name that makefiles of its programs link, as one shared and one static
# library, with its headers and a pkg-config file. Included after MillraceInstall, which has listed the modules.
add_library(fstack SHARED $<TARGET_OBJECTS:millrace_api>)
target_link_libraries(fstack PRIVATE millrace_posix millrace_drivers fmt::fmt Boost::context)
target_link_options(fstack PRIVATE -Wl,--exclude-libs,ALL -Wl,-z,now
                    -Wl,--version-script=${CMAKE_SOURCE_DIR}/src/api/exports.map)
set_target_properties(fstack PROPERTIES LINK_DEPENDS ${CMAKE_SOURCE_DIR}/src/api/exports.map)

# The static one is all modules in one archive.
set(fstack_script "create ${CMAKE_ARCHIVE_OUTPUT_DIRECTORY}/libfstack.a\n")
set(fstack_modules "")
foreach(library ${libraries})
  if(NOT library STREQUAL "millrace_sdk")
    list(APPEND fstack_modules ${library})
    string(APPEND fstack_script "addlib $<TARGET_FILE:${library}>\n")
  endif()
endforeach()
file(GENERATE OUTPUT ${CMAKE_BINARY_DIR}/libfstack.mri CONTENT "${fstack_script}save\nend\n")
add_custom_command(OUTPUT ${CMAKE_ARCHIVE_OUTPUT_DIRECTORY}/libfstack.a
                   COMMAND ${CMAKE_COMMAND} -E rm -f ${CMAKE_ARCHIVE_OUTPUT_DIRECTORY}/libfstack.a
                   COMMAND ${CMAKE_AR} -M < ${CMAKE_BINARY_DIR}/libfstack.mri
                   DEPENDS ${fstack_modules} ${CMAKE_BINARY_DIR}/libfstack.mri VERBATIM)
add_custom_target(fstack_static ALL DEPENDS ${CMAKE_ARCHIVE_OUTPUT_DIRECTORY}/libfstack.a)
add_dependencies(programs fstack fstack_static)

configure_file(${CMAKE_SOURCE_DIR}/cmake/fstack.pc.in ${CMAKE_BINARY_DIR}/fstack.pc @ONLY)
install(TARGETS fstack LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR})
install(FILES ${CMAKE_ARCHIVE_OUTPUT_DIRECTORY}/libfstack.a DESTINATION ${CMAKE_INSTALL_LIBDIR})
install(FILES ${CMAKE_BINARY_DIR}/fstack.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
install(DIRECTORY include/ff DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
