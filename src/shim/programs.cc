// Programs that this one starts or becomes: before they do, the sockets that they get with their descriptors are handed
// to the service (posix/handover.cc). Children of fork and vfork come here when they call exec; posix_spawn, system and
// popen do it inside libc, so that what they may take along is handed over here, by the parent.
#include <spawn.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <mutex>
#include <unordered_map>
#include <vector>

#include "shim/next.h"

namespace millrace::shim {
namespace {

using Strings = char* const*;

// What is handed over while it lives, and taken back at its end: then the start has failed.
class Handed {
 public:
  explicit Handed(std::span<const int> also = {}) : stack_(the_stack.load(std::memory_order_relaxed)) {
    if (stack_ != nullptr && posix::inside == 0) given_ = stack_->before_exec(also);
  }
  ~Handed() {
    if (given_.empty()) return;
    const int before = errno;
    stack_->withdraw(given_);
    errno = before;
  }
  Handed(const Handed&) = delete;
  Handed& operator=(const Handed&) = delete;
  void keep() { given_.clear(); }

 private:
  posix::Stack* stack_;
  std::vector<posix::Token> given_;
};

// Descriptors that file actions will copy, although they are close-on-exec.
class Copies {
 public:
  void forget(const void* actions) {
    const std::lock_guard lock(mutex_);
    copies_.erase(actions);
  }
  void note(const void* actions, int fd) {
    const std::lock_guard lock(mutex_);
    copies_[actions].push_back(fd);
  }
  std::vector<int> of(const void* actions) {
    const std::lock_guard lock(mutex_);
    const auto found = copies_.find(actions);
    return found == copies_.end() ? std::vector<int>() : found->second;
  }

 private:
  std::mutex mutex_;
  std::unordered_map<const void*, std::vector<int>> copies_;
};

Copies& copies() {
  static auto& all = *new Copies;  // never destroyed: exit handlers may start programs
  return all;
}

template <class Spawn>
int spawn(Spawn* by, pid_t* pid, const char* file, const posix_spawn_file_actions_t* actions,
          const posix_spawnattr_t* attributes, Strings words, Strings environment) {
  const std::vector<int> also = actions != nullptr ? copies().of(actions) : std::vector<int>();
  Handed handed(also);
  const int result = by(pid, file, actions, attributes, words, environment);
  if (result == 0) handed.keep();
  return result;
}

// The words of execl() and its kin, the first of which is not in the list; the null at their end is counted.
size_t count_words(va_list list) {
  size_t n = 2;
  while (va_arg(list, char*) != nullptr) ++n;
  return n;
}

void read_words(const char* first, va_list list, char** words, size_t count) {
  words[0] = const_cast<char*>(first);
  for (size_t i = 1; i < count; ++i) words[i] = va_arg(list, char*);
}

}  // namespace

MILLRACE_EXPORT(int, execve, (const char* path, Strings words, Strings environment)) {
  const Handed handed;
  return static_cast<int>(libc_result(call(SYS_execve, word(path), word(words), word(environment))));
}

MILLRACE_EXPORT(int, execv, (const char* path, Strings words)) { return shim_execve(path, words, environ); }

MILLRACE_EXPORT(int, execvpe, (const char* file, Strings words, Strings environment)) {
  const Handed handed;
  return libcs<decltype(::execvpe)>("execvpe")(file, words, environment);
}

MILLRACE_EXPORT(int, execvp, (const char* file, Strings words)) { return shim_execvpe(file, words, environ); }

MILLRACE_EXPORT(int, fexecve, (int fd, Strings words, Strings environment)) {
  const Handed handed;
  return libcs<decltype(::fexecve)>("fexecve")(fd, words, environment);
}

MILLRACE_EXPORT(int, execveat, (int folder, const char* path, Strings words, Strings environment, int flags)) {
  const Handed handed;
  return static_cast<int>(libc_result(call(SYS_execveat, folder, word(path), word(words), word(environment), flags)));
}

// A child of vfork would leave behind what it allocates, so the words lie on the stack.
#define MILLRACE_READ_WORDS(first)                                             \
  va_list list;                                                                \
  va_start(list, first);                                                       \
  va_list again;                                                               \
  va_copy(again, list);                                                        \
  const size_t count = first == nullptr ? 1 : count_words(again);              \
  va_end(again);                                                               \
  auto** words = static_cast<char**>(__builtin_alloca(count * sizeof(char*))); \
  read_words(first, list, words, count);

MILLRACE_EXPORT(int, execl, (const char* path, const char* first, ...)) {
  MILLRACE_READ_WORDS(first)
  va_end(list);
  return shim_execve(path, words, environ);
}

MILLRACE_EXPORT(int, execlp, (const char* file, const char* first, ...)) {
  MILLRACE_READ_WORDS(first)
  va_end(list);
  return shim_execvpe(file, words, environ);
}

MILLRACE_EXPORT(int, execle, (const char* path, const char* first, ...)) {
  MILLRACE_READ_WORDS(first)
  const auto environment = va_arg(list, Strings);
  va_end(list);
  return shim_execve(path, words, environment);
}

MILLRACE_EXPORT(int, posix_spawn,
                (pid_t * pid, const char* path, const posix_spawn_file_actions_t* actions,
                 const posix_spawnattr_t* attributes, Strings words, Strings environment)) {
  return spawn(libcs<decltype(::posix_spawn)>("posix_spawn"), pid, path, actions, attributes, words, environment);
}

MILLRACE_EXPORT(int, posix_spawnp,
                (pid_t * pid, const char* file, const posix_spawn_file_actions_t* actions,
                 const posix_spawnattr_t* attributes, Strings words, Strings environment)) {
  return spawn(libcs<decltype(::posix_spawnp)>("posix_spawnp"), pid, file, actions, attributes, words, environment);
}

MILLRACE_EXPORT(int, posix_spawn_file_actions_init, (posix_spawn_file_actions_t * actions)) {
  copies().forget(actions);
  return libcs<decltype(::posix_spawn_file_actions_init)>("posix_spawn_file_actions_init")(actions);
}

MILLRACE_EXPORT(int, posix_spawn_file_actions_destroy, (posix_spawn_file_actions_t * actions)) {
  copies().forget(actions);
  return libcs<decltype(::posix_spawn_file_actions_destroy)>("posix_spawn_file_actions_destroy")(actions);
}

MILLRACE_EXPORT(int, posix_spawn_file_actions_adddup2, (posix_spawn_file_actions_t * actions, int fd, int fresh)) {
  const auto result =
      libcs<decltype(::posix_spawn_file_actions_adddup2)>("posix_spawn_file_actions_adddup2")(actions, fd, fresh);
  if (result == 0 && owner_of(fd) != nullptr) copies().note(actions, fd);
  return result;
}

MILLRACE_EXPORT(int, system, (const char* command)) {
  Handed handed;
  const int result = libcs<decltype(::system)>("system")(command);
  if (result != -1) handed.keep();
  return result;
}

MILLRACE_EXPORT(FILE*, popen, (const char* command, const char* type)) {
  Handed handed;
  FILE* result = libcs<decltype(::popen)>("popen")(command, type);
  if (result != nullptr) handed.keep();
  return result;
}

}  // namespace millrace::shim
