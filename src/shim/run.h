// What `millrace run` tells the library that it preloads.
#pragma once

namespace millrace::shim {

inline constexpr const char* kLibrary = "libmillrace-run.so";
/// Flags of the stack, as programs on the native API take them; each word ends with kWordEnd.
inline constexpr const char* kFlagsVariable = "MILLRACE_RUN";
inline constexpr char kWordEnd = '\x1f';
/// The service's socket; set: the stack is the service's, without: inside the program.
inline constexpr const char* kServiceVariable = "MILLRACE_RUN_SERVICE";
/// Set: loopback addresses are the stack's.
inline constexpr const char* kLoopbackVariable = "MILLRACE_RUN_LOOPBACK";
/// Process id of the program that was asked for; those that it starts inherit the variables.
inline constexpr const char* kProgramVariable = "MILLRACE_RUN_PID";

}  // namespace millrace::shim
