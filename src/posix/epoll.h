// Epoll: our half of an epoll set, whose other half is the kernel's descriptor of the same number. Watches lie in a
// list while they may be ready; looking drops those that are not, as the kernel does it.
#pragma once

#include <map>
#include <memory>
#include <span>
#include <utility>

#include "posix/file.h"

namespace millrace::posix {

class Epoll final : public File {
 public:
  explicit Epoll(int number) : File(FileKind::kEpoll), number_(number) {}
  ~Epoll() override;

  /// Whether a watch is ready; the kernel's half is for the kernel to say.
  [[nodiscard]] uint32_t ready() override;

  [[nodiscard]] Watch* find(int fd, const File* file);
  Watch& add(int fd, File& file, const epoll_event& event);
  void remove(Watch& watch);
  /// A watch may be ready: to the end of the list.
  void list(Watch& watch);
  void unlist(Watch& watch);
  /// Ready events of our half, at most `out.size()`; level-triggered ones go to the end of the list.
  size_t collect(std::span<epoll_event> out);
  /// Whether collect() would find something; drops what is not ready.
  [[nodiscard]] bool any_ready();
  [[nodiscard]] bool empty() const { return watches_.empty(); }
  /// A number that names the set; the kernel's half is reached through it.
  [[nodiscard]] int number() const { return number_; }
  void set_number(int number) { number_ = number; }

  bool has_kernels = false;  ///< the kernel's half was given something
  uint32_t passed_by = 0;    ///< times that it was not looked at, because ours was ready
  uint32_t in_kernel = 0;    ///< threads that sleep in the kernel's own wait
  int kick = -1;             ///< an eventfd in the kernel's half that calls those back; its data is this object

 private:
  int number_;
  std::map<std::pair<int, const File*>, std::unique_ptr<Watch>> watches_;
  Watch* first_ = nullptr;
  Watch* last_ = nullptr;
};

}  // namespace millrace::posix
