#include "memory.h"

#include <sys/uio.h>
#include <unistd.h>

namespace millrace::packetdrill {

bool copy_from_caller(std::span<std::byte> into, const void* from) {
  if (into.empty()) return true;
  if (from == nullptr) return false;
  const iovec local{into.data(), into.size()};
  const iovec remote{const_cast<void*>(from), into.size()};
  return process_vm_readv(getpid(), &local, 1, &remote, 1, 0) == static_cast<ssize_t>(into.size());
}

bool copy_to_caller(void* to, std::span<const std::byte> from) {
  if (from.empty()) return true;
  if (to == nullptr) return false;
  const iovec local{const_cast<std::byte*>(from.data()), from.size()};
  const iovec remote{to, from.size()};
  return process_vm_writev(getpid(), &local, 1, &remote, 1, 0) == static_cast<ssize_t>(from.size());
}

}  // namespace millrace::packetdrill
