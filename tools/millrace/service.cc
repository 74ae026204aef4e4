#include "service.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>

#include "service/attach.h"

namespace millrace::tool {
namespace {

using runtime::failure;

constexpr const char* kProgram = "millraced";
constexpr const char* kEndWhenIdle = "10";
constexpr int kTries = 250;
constexpr int kBetweenMs = 20;

// What the service has said so far, in one line.
std::string said_by(int log) {
  std::array<char, 1'024> text{};
  const ssize_t n = pread(log, text.data(), text.size(), 0);
  std::string said(text.data(), n > 0 ? static_cast<size_t>(n) : 0);
  while (!said.empty() && said.back() == '\n') said.pop_back();
  return said;
}

// In a process of its own: becomes the service, detached from whoever started it.
[[noreturn]] void become(std::vector<std::string> words, int log) {
  setsid();
  if (fork() != 0) _exit(0);  // so that it is nobody's child
  const int none = open("/dev/null", O_RDWR | O_CLOEXEC);
  dup2(none, STDIN_FILENO);
  dup2(none, STDOUT_FILENO);
  dup2(log, STDERR_FILENO);
  std::vector<char*> arguments;
  for (std::string& word : words) arguments.push_back(word.data());
  arguments.push_back(nullptr);
  execv(arguments[0], arguments.data());
  fmt::print(stderr, "cannot start {}: {}\n", arguments[0], std::strerror(errno));
  _exit(1);
}

bool ended(int life, int patience_ms) {
  pollfd wait{life, POLLIN, 0};
  return poll(&wait, 1, patience_ms) > 0;
}

}  // namespace

runtime::Outcome<bool> have_service(const std::string& path, const std::string& folder,
                                    const std::vector<std::string>& flags) {
  auto end = service::attach(path);
  if (end) return false;
  if (!end.error().what.empty()) return tl::unexpected<runtime::Failure>(end.error());
  std::vector<std::string> words{folder + "/" + kProgram, "--socket", path, "--end-when-idle", kEndWhenIdle};
  words.insert(words.end(), flags.begin(), flags.end());
  const runtime::Descriptor log(memfd_create("millraced.log", MFD_CLOEXEC));
  int ends[2];
  if (!log || pipe2(ends, 0) != 0) return failure(fmt::format("cannot start the service: {}", std::strerror(errno)));
  const runtime::Descriptor life(ends[0]);  // ends with the service, which has the other end
  runtime::Descriptor its(ends[1]);
  const pid_t helper = fork();
  if (helper == 0) {
    close(ends[0]);
    become(std::move(words), log.get());
  }
  its.reset();
  if (helper < 0) return failure(fmt::format("cannot start the service: {}", std::strerror(errno)));
  waitpid(helper, nullptr, 0);
  for (int i = 0; i < kTries; ++i) {
    const bool gone = ended(life.get(), kBetweenMs);
    end = service::attach(path);  // perhaps another's
    if (end) return !gone;
    if (!end.error().what.empty()) return tl::unexpected<runtime::Failure>(end.error());
    if (gone) return failure(fmt::format("no service runs, and none could be started: {}", said_by(log.get())));
  }
  return failure(fmt::format("the service that was started does not answer at {}: {}", path, said_by(log.get())));
}

}  // namespace millrace::tool
