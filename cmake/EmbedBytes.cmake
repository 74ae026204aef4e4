# Writes the bytes of the file INPUT as a C++ array named ARRAY to the file OUTPUT.
file(READ ${INPUT} hex HEX)
string(LENGTH "${hex}" digits)
math(EXPR bytes "${digits} / 2")
string(REGEX REPLACE "([0-9a-f][0-9a-f])" "0x\\1," values "${hex}")
file(WRITE ${OUTPUT} "#include <cstddef>
namespace millrace::drivers::xdp {
alignas(8) extern const unsigned char ${ARRAY}[] = {${values}};
extern const size_t ${ARRAY}Bytes = ${bytes};
}
")
