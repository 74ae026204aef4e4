// MR_INLINE: for small functions of the packet path that are defined in their module's own translation unit (modules
// marked UNITY in CMakeLists.txt). Compilers leave them out of line otherwise, and forty calls a packet are a fifth of
// its instructions.
#pragma once

#define MR_INLINE [[gnu::always_inline]] inline
