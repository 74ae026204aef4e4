// Stacks of microthreads: address space from the kernel, given out again and again. One pool a thread.
#pragma once

#include <cstddef>
#include <map>
#include <vector>

namespace millrace::sdk {

/// The bytes between `low` and `low + size`; it grows down.
struct Stack {
  std::byte* low = nullptr;
  size_t size = 0;
  bool guarded = false;
};

class StackPool {
 public:
  ~StackPool();
  /// `size` rounded up to pages, a guard page not counted. std::bad_alloc where there is no memory.
  Stack take(size_t size);
  /// Ends the process if the stack was overrun.
  void give(const Stack& stack);
  /// The same check, of a stack in use. A guard page makes it needless.
  static void check(const Stack& stack);

 private:
  static constexpr size_t kGuarded = 16'384;  // each is two mappings, of which a process may have 65,530
  static constexpr size_t kWarm = 1'024;      // free stacks of a size that keep their pages
  std::map<size_t, std::vector<Stack>> free_;
  std::vector<Stack> all_;
  size_t guards_ = 0;
};

}  // namespace millrace::sdk
