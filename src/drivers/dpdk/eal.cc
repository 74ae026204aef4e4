#include "drivers/dpdk/eal.h"

#include <fmt/core.h>
#include <rte_eal.h>
#include <rte_errno.h>
#include <rte_log.h>
#include <sched.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstdio>

#include "drivers/dpdk/hugepages.h"

namespace millrace::drivers::dpdk {
namespace {

constexpr size_t kKept = 4096;

/// The tail of what DPDK logged. It is shown only when something fails.
std::string& kept_log() {
  static std::string log;
  return log;
}

ssize_t keep_log(void*, const char* text, size_t bytes) {
  std::string& log = kept_log();
  log.append(text, bytes);
  if (log.size() > kKept) log.erase(0, log.size() - kKept);
  return static_cast<ssize_t>(bytes);
}

void divert_log() {
  static FILE* stream = nullptr;
  if (stream != nullptr) return;
  kept_log().reserve(2 * kKept);
  stream = fopencookie(nullptr, "w", {nullptr, keep_log, nullptr, nullptr});
  if (stream == nullptr) return;
  setvbuf(stream, nullptr, _IOLBF, 512);
  rte_openlog_stream(stream);
}

bool has_option(const std::vector<std::string>& arguments, std::string_view option) {
  return std::any_of(arguments.begin(), arguments.end(),
                     [&](const std::string& a) { return std::string_view(a).substr(0, option.size()) == option; });
}

/// One lcore, on the configured CPU or wherever the process may run. No extra threads.
std::string lcores(const std::optional<uint32_t>& cpu) {
  if (cpu) return fmt::format("0@{}", *cpu);
  cpu_set_t set;
  CPU_ZERO(&set);
  if (sched_getaffinity(0, sizeof set, &set) != 0) return "0@0";
  std::string list;
  for (int i = 0; i < CPU_SETSIZE; ++i) {
    if (CPU_ISSET(i, &set)) list += fmt::format("{}{}", list.empty() ? "" : ",", i);
  }
  return fmt::format("0@({})", list);
}

runtime::Outcome<size_t> plan_memory(const conf::Config& config, size_t ports) {
  if (has_option(config.dpdk.eal, "-m") || has_option(config.dpdk.eal, "--socket-mem")) return 0;
  const MemoryNeed need = memory_need(conf::share_of_worker(config).worker, config.workers, ports);
  if (has_option(config.dpdk.eal, "--no-huge")) return need.full >> 20;
  return plan_huge_pages(need, free_huge_pages());
}

/// DPDK makes its run-time directory even when it keeps nothing there.
void remove_empty_runtime_directory() {
  if (const char* path = rte_eal_get_runtime_dir(); path != nullptr && rmdir(path) == 0) {
    const std::string parent(std::string_view(path).substr(0, std::string_view(path).rfind('/')));
    (void)rmdir(parent.c_str());
  }
}

}  // namespace

std::string last_complaint() {
  std::string log = kept_log();
  while (!log.empty() && (log.back() == '\n' || log.back() == ' ')) log.pop_back();
  const size_t line = log.rfind('\n');
  std::string text = line == std::string::npos ? log : log.substr(line + 1);
  return text.empty() ? text : ": " + text;
}

std::vector<std::string> eal_arguments(const conf::Config& config, std::span<const DeviceSpec> devices,
                                       size_t memory_mib) {
  std::vector<std::string> out = {"millrace", "--no-telemetry", "--log-level=*:error", "--lcores", lcores(config.cpu)};
  if (has_option(config.dpdk.eal, "--no-huge")) {
    out.emplace_back("--no-shconf");  // DPDK 22.11 refuses --in-memory together with --no-huge
  } else {
    out.emplace_back("--in-memory");
  }
  out.emplace_back("--single-file-segments");  // vhost-user passes few descriptors, so memory must be few files
  if (memory_mib != 0) {
    out.emplace_back("-m");
    out.push_back(std::to_string(memory_mib));
  }
  bool any_pci = false;
  for (const DeviceSpec& device : devices) {
    if (!device.pci) continue;
    any_pci = true;
    const std::string args = device.dpdk_args();
    out.emplace_back("-a");
    out.push_back(args.empty() ? device.name : device.name + "," + args);
  }
  if (!any_pci) {
    out.emplace_back("--no-pci");
    out.emplace_back("--iova-mode=va");
  }
  out.insert(out.end(), config.dpdk.eal.begin(), config.dpdk.eal.end());
  return out;
}

runtime::Outcome<void> Eal::start(const conf::Config& config, std::span<const DeviceSpec> devices) {
  const auto memory_mib = plan_memory(config, devices.size());
  if (!memory_mib) return tl::unexpected(memory_mib.error());
  std::vector<std::string> arguments = eal_arguments(config, devices, *memory_mib);
  std::vector<char*> argv;
  argv.reserve(arguments.size() + 1);
  for (std::string& a : arguments) argv.push_back(a.data());
  argv.push_back(nullptr);

  divert_log();
  std::signal(SIGPIPE, SIG_IGN);  // virtio-user writes to its peer's socket even when that has gone
  const int taken = rte_eal_init(static_cast<int>(arguments.size()), argv.data());
  if (taken < 0) {
    const std::string why = rte_strerror(rte_errno);
    return runtime::failure(fmt::format("DPDK does not start ({}){}", why, last_complaint()),
                            rte_errno == EACCES || rte_errno == EPERM ? "run as root" : "");
  }
  remove_empty_runtime_directory();
  started_ = true;
  return {};
}

}  // namespace millrace::drivers::dpdk
