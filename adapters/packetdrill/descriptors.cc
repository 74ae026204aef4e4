#include "descriptors.h"

#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <vector>

namespace millrace::packetdrill {
namespace {

uint64_t inode_of(int fd) {
  struct stat s {};
  return fstat(fd, &s) == 0 ? s.st_ino : 0;
}

void close_if_ours(const Descriptor& d) {
  if (inode_of(d.fd) == d.inode) ::close(d.fd);
}

}  // namespace

Descriptors::~Descriptors() {
  for (const auto& [fd, d] : all_) close_if_ours(*d);
}

Descriptor* Descriptors::create(Descriptor::Kind kind, std::unique_ptr<Descriptor>& stale) {
  const int fd = memfd_create("millrace", MFD_CLOEXEC);
  if (fd < 0) return nullptr;
  auto fresh = std::make_unique<Descriptor>();
  fresh->kind = kind;
  fresh->fd = fd;
  fresh->inode = inode_of(fd);
  auto& place = all_[fd];
  stale = std::move(place);
  place = std::move(fresh);
  return place.get();
}

Descriptor* Descriptors::find(int fd) {
  const auto found = all_.find(fd);
  return found == all_.end() ? nullptr : found->second.get();
}

void Descriptors::remove(int fd) {
  const auto found = all_.find(fd);
  if (found == all_.end()) return;
  close_if_ours(*found->second);
  all_.erase(found);
  for (auto& [other, d] : all_) d->watched.erase(fd);
}

}  // namespace millrace::packetdrill
