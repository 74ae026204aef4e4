// Epoll: our half of an epoll set, whose other half is the kernel's descriptor of the same number; all of it where
// numbers are our own.
#pragma once

#include <map>
#include <memory>
#include <span>
#include <utility>

#include "posix/file.h"

namespace millrace::posix {

class Epoll final : public WatchSet {
 public:
  explicit Epoll(int number) : WatchSet(FileKind::kEpoll), number_(number) {}
  ~Epoll() override;

  [[nodiscard]] Watch* find(int fd, const File* file);
  Watch& add(int fd, File& file, const epoll_event& event);
  void remove(Watch& watch) override;
  /// Ready events of our half, at most `out.size()`; level-triggered ones go to the end of the list.
  size_t collect(std::span<epoll_event> out);
  /// Whether collect() would find something; the kernel's half is for the kernel to say.
  [[nodiscard]] bool any_ready() override;
  /// A number that names the set, by which the kernel's half is reached; -1 when none is left.
  [[nodiscard]] int number() const { return number_; }
  void set_number(int number) { number_ = number; }

  bool has_kernels = false;  ///< the kernel's half was given something
  uint32_t passed_by = 0;    ///< times that it was not looked at, because ours was ready

 private:
  int number_;
  std::map<std::pair<int, const File*>, std::unique_ptr<Watch>> watches_;
};

}  // namespace millrace::posix
