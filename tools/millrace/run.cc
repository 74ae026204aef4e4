// millrace run: starts an unmodified program with its sockets on the stack. It checks what can be checked before,
// sets the environment for the preloaded library, and becomes the program.
#include <elf.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <fstream>

#include "commands.h"
#include "runtime/app.h"
#include "service.h"
#include "service/attach.h"
#include "shim/run.h"

namespace millrace::tool {
namespace {

constexpr int kCannotRun = 125;  // as env(1), timeout(1) and their like
constexpr int kNotExecutable = 126;
constexpr int kNotFound = 127;
constexpr int kMostInterpreters = 4;

struct Refusal {
  Failure failure;
  int status = kCannotRun;
};

// The file that execvp() would run; empty: none.
std::string find_program(const std::string& name) {
  if (name.find('/') != std::string::npos) return access(name.c_str(), F_OK) == 0 ? name : "";
  const char* path = std::getenv("PATH");
  std::string rest = path != nullptr ? path : "/usr/bin:/bin";
  while (true) {
    const size_t end = rest.find(':');
    const std::string folder = rest.substr(0, end);
    const std::string file = (folder.empty() ? "." : folder) + "/" + name;
    if (access(file.c_str(), X_OK) == 0) return file;
    if (end == std::string::npos) return {};
    rest.erase(0, end + 1);
  }
}

// Why the dynamic linker would not preload the library into this ELF file; empty: it will.
Failure judge_elf(const std::string& file, std::ifstream& in) {
  Elf64_Ehdr header{};
  in.seekg(0);
  in.read(reinterpret_cast<char*>(&header), sizeof header);
  if (!in || header.e_ident[EI_CLASS] != ELFCLASS64 || header.e_machine != EM_X86_64) {
    return {fmt::format("{} is no program of this machine's kind (64 bit, x86-64)", file), {}};
  }
  for (int i = 0; i < header.e_phnum; ++i) {
    Elf64_Phdr segment{};
    in.seekg(static_cast<std::streamoff>(header.e_phoff) + i * static_cast<std::streamoff>(header.e_phentsize));
    in.read(reinterpret_cast<char*>(&segment), sizeof segment);
    if (in && segment.p_type == PT_INTERP) return {};
  }
  return {fmt::format("{} is statically linked, so nothing can be preloaded into it", file),
          "use a dynamically linked build of it"};
}

Refusal judge(const std::string& file, int depth = 0) {
  struct stat status {};
  if (stat(file.c_str(), &status) != 0) return {{fmt::format("cannot look at {}: {}", file, std::strerror(errno)), {}}};
  if (!S_ISREG(status.st_mode) || access(file.c_str(), X_OK) != 0) {
    return {{fmt::format("{} cannot be executed", file), {}}, kNotExecutable};
  }
  const bool other_user = (status.st_mode & S_ISUID) != 0 && status.st_uid != geteuid();
  const bool other_group =
      (status.st_mode & S_ISGID) != 0 && (status.st_mode & S_IXGRP) != 0 && status.st_gid != getegid();
  const bool capable = geteuid() != 0 && getxattr(file.c_str(), "security.capability", nullptr, 0) > 0;
  if (other_user || other_group || capable) {
    return {{fmt::format("{} gets privileges when it starts (setuid, setgid or capabilities), so nothing is preloaded "
                         "into it",
                         file),
             "start it as the user whose privileges it gets"}};
  }
  std::ifstream in(file, std::ios::binary);
  std::array<char, 4> magic{};
  in.read(magic.data(), magic.size());
  if (!in) return {{fmt::format("cannot read {}, so it is not known whether it can run on the stack", file), {}}};
  if (std::memcmp(magic.data(), ELFMAG, SELFMAG) == 0) return {judge_elf(file, in)};
  if (magic[0] != '#' || magic[1] != '!' || depth == kMostInterpreters) {
    return {{fmt::format("{} is neither a program nor a script", file), {}}, kNotExecutable};
  }
  std::string line;
  in.seekg(2);
  std::getline(in, line);
  const size_t begin = line.find_first_not_of(" \t");
  const std::string interpreter =
      begin == std::string::npos ? "" : line.substr(begin, line.find_first_of(" \t", begin) - begin);
  return judge(interpreter, depth + 1);
}

// Where this program lies.
std::string own_folder() {
  std::array<char, 4'096> self{};
  const ssize_t length = readlink("/proc/self/exe", self.data(), self.size() - 1);
  if (length <= 0) return {};
  const std::string path(self.data(), static_cast<size_t>(length));
  return path.substr(0, path.rfind('/'));
}

// Beside this program: as built, or as installed.
std::string find_library() {
  const std::string folder = own_folder();
  if (folder.empty()) return {};
  for (const char* place : {"/../lib/", "/../" MILLRACE_LIBDIR "/"}) {
    const std::string file = folder + place + shim::kLibrary;
    if (access(file.c_str(), R_OK) == 0) return file;
  }
  return {};
}

int refuse(const Refusal& refusal) {
  fmt::print(stderr, "millrace run: {}\n", refusal.failure.to_string());
  return refusal.status;
}

struct Place {
  bool in_program = false;
  bool loopback = false;
  std::string service = service::kDefaultPath;
};

void set_environment(const std::string& library, const std::vector<std::string>& flags, const Place& place) {
  std::string preload = library;
  if (const char* before = std::getenv("LD_PRELOAD"); before != nullptr && *before != 0)
    preload += ":" + std::string(before);
  std::string words;
  for (const std::string& flag : flags) words += flag + shim::kWordEnd;
  setenv("LD_PRELOAD", preload.c_str(), 1);
  setenv(shim::kFlagsVariable, words.c_str(), 1);
  setenv(shim::kProgramVariable, std::to_string(getpid()).c_str(), 1);
  if (place.loopback) setenv(shim::kLoopbackVariable, "1", 1);
  if (place.in_program) {
    unsetenv(shim::kServiceVariable);
  } else {
    setenv(shim::kServiceVariable, place.service.c_str(), 1);
  }
}

// Takes what is `run`'s own out of the flags, so that the stack's are left.
Place take_place(std::vector<std::string>& flags) {
  const auto take = [&flags](const char* flag) { return std::erase(flags, flag) != 0; };
  Place place;
  place.in_program = take("--inline");
  (void)take("--service");
  place.loopback = take("--loopback");
  const auto socket = std::find(flags.begin(), flags.end(), "--socket");
  if (socket != flags.end() && socket + 1 != flags.end()) {
    place.service = socket[1];
    flags.erase(socket, socket + 2);
  }
  return place;
}

Failure find_service(const Place& place, const std::vector<std::string>& flags) {
  const auto started = have_service(place.service, own_folder(), flags);
  if (!started) return started.error();
  if (*started) {
    fmt::print(stderr, "millrace run: started a service of its own at {}; it ends when it is not used\n",
               place.service);
  } else if (!flags.empty()) {
    return {fmt::format("a service runs at {} already, so it does not take {}", place.service, flags.front()),
            "leave the flags of the stack out, or choose another with --socket PATH"};
  }
  return {};
}

}  // namespace

CLI::App* add_run(CLI::App& cli) {
  CLI::App* app = cli.add_subcommand("run", "start an unmodified program with its TCP and UDP sockets on the stack");
  app->add_flag("--inline")->description("the stack runs inside the program");
  app->add_flag("--service")->description("the stack is a service's, millraced, which is started if none runs");
  app->add_option("--socket")->description(fmt::format("of the service (default {})", service::kDefaultPath));
  app->add_flag("--loopback")->description("127.0.0.0/8 and ::1 are the stack's own; else they stay the kernel's");
  app->add_option("flags")->description(
      "of the stack, as every program of Millrace takes them: --tap, --interface, --set ...; then '--', the program "
      "and its arguments");
  app->footer("Example:\n  millrace run --inline -- curl http://198.18.0.1/");
  return app;
}

int run_program(std::vector<std::string> words) {
  const auto separator = std::find(words.begin(), words.end(), "--");
  std::vector<std::string> flags(words.begin(), separator);
  const Place place = take_place(flags);
  if (separator == words.end() || separator + 1 == words.end()) {
    return refuse({{"no program was named", "millrace run --inline -- PROGRAM ARGUMENTS"}});
  }
  runtime::App stack("millrace run", "", "");
  if (const auto config = stack.configure(flags); !config) return refuse({config.error(), kBadUsage});
  const std::string& name = separator[1];
  const std::string file = find_program(name);
  if (file.empty()) return refuse({{fmt::format("there is no program '{}'", name), {}}, kNotFound});
  if (const Refusal refusal = judge(file); !refusal.failure.what.empty()) return refuse(refusal);
  const std::string library = find_library();
  if (library.empty()) return refuse({{fmt::format("{} is not where it was installed", shim::kLibrary), {}}});
  if (!place.in_program) {
    if (const Failure failure = find_service(place, flags); !failure.what.empty()) return refuse({failure});
  }
  set_environment(library, flags, place);
  std::vector<char*> arguments;
  for (auto word = separator + 1; word != words.end(); ++word) arguments.push_back(word->data());
  arguments.push_back(nullptr);
  execv(file.c_str(), arguments.data());
  return refuse({{fmt::format("cannot start {}: {}", file, std::strerror(errno)), {}}, kNotExecutable});
}

}  // namespace millrace::tool
