// ff_log: levels by type, a file that config.ini names, or the program's own stream.
#include <stdio.h>
#include <string.h>

#include <array>
#include <atomic>

#include "api/state.h"
#include "ff/ff_config.h"
#include "ff/ff_log.h"

using namespace millrace;

char FF_LOG_FILENAME_PREFIX[] = "f-stack-";

namespace millrace::api {
namespace {

constexpr uint32_t kTypes = 256;

std::atomic<FILE*> stream{nullptr};  // null: standard error
FILE* file = nullptr;                // the one that we opened
std::atomic<uint32_t> global_level{FF_LOG_DEBUG};
std::array<std::atomic<uint32_t>, kTypes>& levels() {
  static auto& all = *[] {
    auto* made = new std::array<std::atomic<uint32_t>, kTypes>;
    for (auto& level : *made) level = FF_LOG_INFO;
    return made;
  }();
  return all;
}

}  // namespace
}  // namespace millrace::api

int ff_log_open_set(void) {
  const auto& config = api::state().config;
  if (!config || config->log_level == 0 || api::file != nullptr) return 0;
  const std::string name = config->log_prefix + std::to_string(config->process) + ".log";
  api::file = fopen(name.c_str(), "ae");
  if (api::file == nullptr) {
    api::say("cannot open the log file " + name + ": " + strerror(errno));
    return -1;
  }
  api::stream = api::file;
  ff_global_cfg.log.f = api::file;
  const auto level = static_cast<uint32_t>(config->log_level);
  (void)ff_log_set_level(FF_LOGTYPE_FSTACK_LIB, level);
  (void)ff_log_set_level(FF_LOGTYPE_FSTACK_FREEBSD, level);
  return 0;
}

void ff_log_close(void) {
  if (api::file == nullptr) return;
  FILE* ours = api::file;
  api::stream.compare_exchange_strong(ours, nullptr);
  fclose(api::file);
  api::file = nullptr;
  ff_global_cfg.log.f = nullptr;
}

int ff_log_reset_stream(void* f) {
  api::stream = static_cast<FILE*>(f);
  return 0;
}

void ff_log_set_global_level(uint32_t level) { api::global_level = level; }

int ff_log_set_level(uint32_t logtype, uint32_t level) {
  if (logtype >= api::kTypes || level > FF_LOG_MAX) return -1;
  api::levels()[logtype] = level;
  return 0;
}

int ff_log(uint32_t level, uint32_t logtype, const char* format, ...) {
  va_list list;
  va_start(list, format);
  const int written = ff_vlog(level, logtype, format, list);
  va_end(list);
  return written;
}

int ff_vlog(uint32_t level, uint32_t logtype, const char* format, va_list ap) {
  if (logtype >= api::kTypes) return -1;
  if (level > api::global_level || level > api::levels()[logtype]) return 0;
  FILE* out = api::stream;
  if (out == nullptr) out = stderr;
  const int written = vfprintf(out, format, ap);
  fflush(out);
  return written;
}
