// In the planted build: the environment variable MILLRACE_PLANTED_BUG switches one planted bug on before main(), so
// that the unit tests and scripts can be run against it unchanged.
#include <cstdlib>
#include <cstring>
#include <iterator>

#include "base/planted.h"

#ifdef MILLRACE_PLANTED
namespace {

[[maybe_unused]] const bool switched_on = [] {
  const char* name = std::getenv("MILLRACE_PLANTED_BUG");
  if (name == nullptr) return false;
  for (size_t i = 0; i < std::size(millrace::base::kPlantedRows); ++i) {
    if (std::strcmp(name, millrace::base::kPlantedRows[i].name) == 0) millrace::base::g_planted = 1u << i;
  }
  if (millrace::base::g_planted == 0) std::abort();  // an unknown bug would prove nothing
  return true;
}();

}  // namespace
#endif
