#include "sides.h"

#include <poll.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <filesystem>

#include "drivers/dpdk/dpdk.h"
#include "drivers/dpdk/hugepages.h"

namespace millrace::test {
namespace {

using Clock = std::chrono::steady_clock;

Clock::time_point after(double seconds) {
  return Clock::now() + std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(seconds));
}

std::string with_path(std::string text, const std::string& path) {
  const size_t at = text.find('@');
  return at == std::string::npos ? text : text.replace(at, 1, path);
}

pid_t start(const std::string& device, const Link& link, const Part& part, int tell, int hear) {
  std::fflush(nullptr);
  const pid_t pid = fork();
  if (pid != 0) return pid;
  alarm(250);
  bool good = false;
  {
    Side side(device, link.base, link.workers);
    side.tell_fd = tell;
    side.hear_fd = hear;
    good = part(side);
  }
  std::fflush(nullptr);
  _exit(good ? 0 : 1);
}

std::string reap(pid_t pid, const char* which) {
  int status = 0;
  if (waitpid(pid, &status, 0) != pid) return std::string(which) + " was lost; ";
  if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return {};
  return std::string(which) +
         (WIFSIGNALED(status) ? " died by signal " + std::to_string(WTERMSIG(status)) : " failed") + "; ";
}

}  // namespace

bool check(bool ok, const char* what) {
  if (!ok) std::fprintf(stderr, "  [%d] not so: %s\n", getpid(), what);
  return ok;
}

std::string fresh_path() {
  static int serial = 0;
  return (std::filesystem::temp_directory_path() /
          ("millrace-link-" + std::to_string(getpid()) + "-" + std::to_string(serial++)))
      .string();
}

std::vector<std::string> eal_for_tests() {
  // Two ends at a time.
  const auto pages = drivers::dpdk::free_huge_pages();
  if (pages.page_bytes == size_t{2} << 20 && pages.free_bytes() > size_t{300} << 20) return {};
  return {"--no-huge"};
}

conf::Config config_for_tests(const conf::Interface& interface) {
  conf::Config config;
  config.interfaces = {interface};
  config.worker.frames = 8192;
  config.worker.references = 8192;
  config.worker.block_mib = 32;
  config.worker.max_connections = 1000;
  config.worker.max_half_open = 1000;
  config.worker.max_time_wait = 1000;
  config.dpdk.eal = eal_for_tests();
  return config;
}

Side::Side(const std::string& device, const conf::Interface& base, uint32_t workers) {
  conf::Interface interface = base;
  interface.name = "t0";
  interface.driver = "dpdk";
  interface.device = device;
  conf::Config config = config_for_tests(interface);
  config.workers = workers;
  drivers::dpdk::register_driver(registry_);
  driver_ = registry_.find("dpdk");
  const auto fatal = [](const runtime::Failure& failure) {
    std::fprintf(stderr, "  [%d] %s\n", getpid(), failure.to_string().c_str());
    _exit(2);
  };
  if (auto ok = driver_->prepare(config, config.interfaces); !ok) fatal(ok.error());
  for (uint32_t i = 0; i < workers; ++i) {
    resources_.push_back(driver_->resources(i));
    caches_.push_back(std::make_unique<pkt::PacketCache>(*resources_[i].frames, *resources_[i].references));
  }
  auto opened = driver_->open_queues(config, interface, resources_);
  if (!opened) fatal(opened.error());
  devices_ = std::move(*opened);
}

Side::~Side() {
  devices_.clear();
  caches_.clear();
}

bool Side::send(std::span<pkt::Packet* const> frames) {
  const auto end = after(kPatience);
  while (!frames.empty() && Clock::now() < end) frames = frames.subspan(device().transmit(frames));
  return frames.empty();
}

bool Side::receive(const std::function<bool(const pkt::Packet&)>& take, double seconds) {
  std::array<pkt::Packet*, 32> burst;
  bool done = false;
  for (const auto end = after(seconds); !done && Clock::now() < end;) {
    const size_t n = device().receive(burst);
    for (size_t i = 0; i < n; ++i) {
      done = take(*burst[i]) || done;
      cache().free(burst[i]);
    }
  }
  return done;
}

void Side::tell(char what) const {
  if (write(tell_fd, &what, 1) != 1) _exit(3);
}

bool Side::hear(char what) const {
  pollfd ready{hear_fd, POLLIN, 0};
  char got = 0;
  return poll(&ready, 1, static_cast<int>(kPatience * 1'000)) == 1 && read(hear_fd, &got, 1) == 1 && got == what;
}

std::string run_pair(const Link& link, const Part& first, const Part& second) {
  const std::string path = fresh_path();
  int forth[2];
  int back[2];
  if (pipe(forth) != 0 || pipe(back) != 0) return "no pipes";
  const pid_t a = start(with_path(link.first, path), link, first, forth[1], back[0]);
  // The second end connects to a socket that the first makes.
  const bool has_socket = link.first.find('@') != std::string::npos;
  for (const auto end = after(kPatience); has_socket && !std::filesystem::exists(path) && Clock::now() < end;)
    usleep(10'000);
  usleep(100'000);  // bound, but perhaps not listening yet
  const pid_t b = start(with_path(link.second, path), link, second, back[1], forth[0]);
  std::string out = reap(b, "the second end");
  out += reap(a, "the first end");
  for (const int fd : {forth[0], forth[1], back[0], back[1]}) close(fd);
  if (std::filesystem::exists(path)) out += "the socket was left behind; ";
  return out;
}

}  // namespace millrace::test
