# Programs for the kernel: compiled to BPF by clang and put into a library as an array of bytes.

# millrace_bpf(<library> <source.bpf.c> <array>): defines `const unsigned char <array>[]` and `const size_t
# <array>Bytes` in namespace millrace::drivers::xdp.
function(millrace_bpf library source array)
  set(object ${CMAKE_CURRENT_BINARY_DIR}/${array}.o)
  set(embedded ${CMAKE_CURRENT_BINARY_DIR}/${array}.cc)
  add_custom_command(
    OUTPUT ${object}
    COMMAND ${MILLRACE_BPF_CLANG} -O2 -g -Wall -Wextra -Werror -target bpf -fdebug-prefix-map=${CMAKE_SOURCE_DIR}=.
            -I ${CMAKE_SOURCE_DIR}/src -I ${MILLRACE_BPF_ASM_INCLUDE} -MD -MF ${object}.d -c ${CMAKE_SOURCE_DIR}/${source}
            -o ${object}
    DEPENDS ${CMAKE_SOURCE_DIR}/${source}
    DEPFILE ${object}.d
    COMMENT "Compiling ${source} to BPF"
    VERBATIM)
  add_custom_command(
    OUTPUT ${embedded}
    COMMAND ${CMAKE_COMMAND} -D INPUT=${object} -D OUTPUT=${embedded} -D ARRAY=${array}
            -P ${CMAKE_SOURCE_DIR}/cmake/EmbedBytes.cmake
    DEPENDS ${object} ${CMAKE_SOURCE_DIR}/cmake/EmbedBytes.cmake
    VERBATIM)
  target_sources(${library} PRIVATE ${embedded})
endfunction()
