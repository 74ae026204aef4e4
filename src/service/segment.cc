#include "service/segment.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include <cerrno>
#include <cstring>
#include <utility>

namespace millrace::service {

runtime::Outcome<Segment> Segment::make() {
  runtime::Descriptor fd(memfd_create("millrace", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  if (!fd || ftruncate(fd.get(), static_cast<off_t>(kSegmentBytes)) != 0 ||
      fcntl(fd.get(), F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) != 0) {
    return runtime::failure(fmt::format("cannot make a segment of shared memory: {}", std::strerror(errno)));
  }
  return map(std::move(fd));
}

runtime::Outcome<Segment> Segment::map(runtime::Descriptor fd) {
  struct stat status {};
  if (fstat(fd.get(), &status) != 0 || static_cast<uint64_t>(status.st_size) != kSegmentBytes) {
    return runtime::failure("the service's segment has another size");
  }
  void* base = mmap(nullptr, kSegmentBytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, fd.get(), 0);
  if (base == MAP_FAILED) {
    return runtime::failure(fmt::format("cannot map a segment of shared memory: {}", std::strerror(errno)));
  }
  return Segment(std::move(fd), static_cast<std::byte*>(base));
}

Segment::Segment(Segment&& other) noexcept : fd_(std::move(other.fd_)), base_(std::exchange(other.base_, nullptr)) {}

Segment& Segment::operator=(Segment&& other) noexcept {
  std::swap(fd_, other.fd_);
  std::swap(base_, other.base_);
  return *this;
}

Segment::~Segment() {
  if (base_ != nullptr) munmap(base_, kSegmentBytes);
}

}  // namespace millrace::service
