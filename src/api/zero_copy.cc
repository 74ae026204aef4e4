// Zero copy: ff_zc_*. What bsd_mbuf points to is a posix::Chain, known by its address while it is alive.
#include <limits.h>

#include <atomic>
#include <mutex>
#include <unordered_map>

#include "api/state.h"

namespace millrace::api {
namespace {

std::mutex chains_mutex;
std::unordered_map<const void*, std::unique_ptr<posix::Chain>> chains;
std::atomic<size_t> chain_count{0};  // a look without the lock, for programs that have none

void* keep(std::unique_ptr<posix::Chain> chain) {
  const std::lock_guard lock(chains_mutex);
  void* name = chain.get();
  chains.emplace(name, std::move(chain));
  chain_count = chains.size();
  return name;
}

// Null if there is none of that name.
std::unique_ptr<posix::Chain> take(const void* name) {
  const std::lock_guard lock(chains_mutex);
  const auto found = chains.find(name);
  if (found == chains.end()) return nullptr;
  auto chain = std::move(found->second);
  chains.erase(found);
  chain_count = chains.size();
  return chain;
}

posix::Chain* look(const void* name) {
  const std::lock_guard lock(chains_mutex);
  const auto found = chains.find(name);
  return found == chains.end() ? nullptr : found->second.get();
}

void fill(ff_zc_mbuf& m, std::unique_ptr<posix::Chain> chain, size_t bytes) {
  m.bsd_mbuf = m.bsd_mbuf_off = keep(std::move(chain));
  m.off = 0;
  m.len = static_cast<int>(bytes);
}

}  // namespace

bool is_chain(const void* data) { return chain_count.load(std::memory_order_relaxed) != 0 && look(data) != nullptr; }

}  // namespace millrace::api

using namespace millrace;
using api::result;
using api::the_stack;

int ff_zc_mbuf_get(struct ff_zc_mbuf* m, int len) {
  if (m == nullptr || len <= 0) return result(-EINVAL);
  auto chain = std::make_unique<posix::Chain>();
  const long bad = the_stack().lend(static_cast<size_t>(len), *chain);
  if (bad < 0) return result(bad);
  api::fill(*m, std::move(chain), static_cast<size_t>(len));
  return 0;
}

int ff_zc_mbuf_write(struct ff_zc_mbuf* m, const char* data, int len) {
  posix::Chain* chain = m != nullptr ? api::look(m->bsd_mbuf) : nullptr;
  if (chain == nullptr || len < 0 || len > m->len - m->off) return result(-EINVAL);
  const size_t n = chain->write(static_cast<size_t>(m->off), data, static_cast<size_t>(len));
  m->off += static_cast<int>(n);
  return static_cast<int>(n);
}

ssize_t ff_zc_send(int fd, const void* mb, size_t nbytes) {
  const auto chain = api::take(mb);
  if (chain == nullptr) return result<ssize_t>(-EINVAL);
  return result<ssize_t>(the_stack().send_chain(fd, *chain, nbytes));
}

ssize_t ff_zc_recv(int fd, struct ff_zc_mbuf* zm, size_t nbytes) {
  if (zm == nullptr || nbytes > INT_MAX) return result<ssize_t>(-EINVAL);
  *zm = {};
  auto chain = std::make_unique<posix::Chain>();
  const long n = the_stack().receive_chain(fd, *chain, nbytes);
  if (n <= 0) return result<ssize_t>(n);
  api::fill(*zm, std::move(chain), static_cast<size_t>(n));
  return n;
}

int ff_zc_mbuf_read(struct ff_zc_mbuf* m, char* data, int len) {
  const posix::Chain* chain = m != nullptr ? api::look(m->bsd_mbuf) : nullptr;
  if (chain == nullptr || len < 0) return result(-EINVAL);
  const size_t n = chain->read(static_cast<size_t>(m->off), data, static_cast<size_t>(len));
  m->off += static_cast<int>(n);
  return static_cast<int>(n);
}

int ff_zc_mbuf_segment(struct ff_zc_mbuf* zm, void** seg_data, int* seg_len) {
  const posix::Chain* chain = zm != nullptr ? api::look(zm->bsd_mbuf) : nullptr;
  if (chain == nullptr || seg_data == nullptr || seg_len == nullptr) return result(-EINVAL);
  auto at = static_cast<size_t>(zm->off);
  for (const posix::Chain::Piece& piece : chain->pieces) {
    if (at >= piece.bytes) {
      at -= piece.bytes;
      continue;
    }
    *seg_data = piece.data + at;
    *seg_len = static_cast<int>(piece.bytes - at);
    zm->off += *seg_len;
    return *seg_len;
  }
  return 0;
}

void ff_zc_recv_free(struct ff_zc_mbuf* zm) {
  if (zm == nullptr) return;
  if (const auto chain = api::take(zm->bsd_mbuf)) the_stack().give_back(*chain);
  *zm = {};
}
