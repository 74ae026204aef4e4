// Names of hosts. libc's resolver makes its sockets by calls inside libc that nobody can replace, so it asks over the
// kernel's network. c-ares asks over sockets of this process, which are the stack's (or the kernel's, where the name
// server has an address of the kernel's); what it finds, libc then makes an answer of, as of numeric hosts. Where no
// name server can be reached over the stack, libc's own resolver is asked. nsswitch's other sources are not.
#include <ares.h>
#include <arpa/inet.h>
#include <net/if.h>
#include <netdb.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <string>
#include <vector>

#include "shim/next.h"

namespace millrace::shim {
namespace {

constexpr int kTimeoutMs = 2'000;  // of the first try; the second gets twice as much
constexpr int kTries = 2;

struct Found {
  int status = ARES_ECONNREFUSED;
  std::vector<std::string> addresses;  // as numbers
  std::string canonical;
  std::vector<std::string> aliases;
  bool done = false;
};

void note_answer(void* argument, int status, int, ares_addrinfo* answer) {
  auto& found = *static_cast<Found*>(argument);
  found.status = status;
  found.done = true;
  if (answer == nullptr) return;
  for (const ares_addrinfo_node* node = answer->nodes; node != nullptr; node = node->ai_next) {
    char text[INET6_ADDRSTRLEN] = {};
    const void* at = node->ai_family == AF_INET
                         ? static_cast<const void*>(&reinterpret_cast<const sockaddr_in*>(node->ai_addr)->sin_addr)
                         : &reinterpret_cast<const sockaddr_in6*>(node->ai_addr)->sin6_addr;
    if (inet_ntop(node->ai_family, at, text, sizeof text) == nullptr) continue;
    if (std::find(found.addresses.begin(), found.addresses.end(), text) == found.addresses.end()) {
      found.addresses.emplace_back(text);
    }
  }
  if (answer->name != nullptr) found.canonical = answer->name;
  for (const ares_addrinfo_cname* c = answer->cnames; c != nullptr; c = c->next) {
    if (c->name != nullptr) found.canonical = c->name;
    if (c->alias != nullptr) found.aliases.emplace_back(c->alias);
  }
  ares_freeaddrinfo(answer);
}

// One round: sleeps until a server answers or it is time to ask again.
void turn(ares_channel channel) {
  std::array<ares_socket_t, ARES_GETSOCK_MAXNUM> sockets{};
  std::array<pollfd, ARES_GETSOCK_MAXNUM> waits{};
  const auto bits = static_cast<unsigned>(ares_getsock(channel, sockets.data(), ARES_GETSOCK_MAXNUM));
  nfds_t count = 0;
  for (unsigned i = 0; i < ARES_GETSOCK_MAXNUM; ++i) {
    const int events = (ARES_GETSOCK_READABLE(bits, i) ? POLLIN : 0) | (ARES_GETSOCK_WRITABLE(bits, i) ? POLLOUT : 0);
    if (events != 0) waits[count++] = {sockets[i], static_cast<short>(events), 0};
  }
  timeval longest{kTimeoutMs / 1'000, 0};
  timeval left{};
  const timeval* t = ares_timeout(channel, &longest, &left);
  (void)::poll(waits.data(), count, static_cast<int>(t->tv_sec * 1'000 + t->tv_usec / 1'000 + 1));
  bool any = false;
  for (nfds_t i = 0; i < count; ++i) {
    if (waits[i].revents == 0) continue;
    any = true;
    const bool in = (waits[i].revents & ~POLLOUT) != 0;
    const bool out = (waits[i].revents & POLLOUT) != 0;
    ares_process_fd(channel, in ? waits[i].fd : ARES_SOCKET_BAD, out ? waits[i].fd : ARES_SOCKET_BAD);
  }
  if (!any) ares_process_fd(channel, ARES_SOCKET_BAD, ARES_SOCKET_BAD);
}

Found ask(const char* name, int family) {
  static const int ready = ares_library_init(ARES_LIB_INIT_ALL);
  Found found;
  ares_channel channel = nullptr;
  ares_options options{};
  options.timeout = kTimeoutMs;
  options.tries = kTries;
  if (ready != ARES_SUCCESS || ares_init_options(&channel, &options, ARES_OPT_TIMEOUTMS | ARES_OPT_TRIES) != 0) {
    return found;
  }
  ares_addrinfo_hints hints{};
  hints.ai_family = family;
  hints.ai_flags = ARES_AI_CANONNAME;
  ares_getaddrinfo(channel, name, nullptr, &hints, note_answer, &found);
  while (!found.done) turn(channel);
  ares_destroy(channel);
  return found;
}

bool unreachable(const Found& found) {
  return found.status == ARES_ECONNREFUSED || found.status == ARES_ETIMEOUT || found.status == ARES_EFILE;
}

bool is_number(const char* name) {
  in6_addr room{};
  return inet_pton(AF_INET, name, &room) == 1 || std::strchr(name, ':') != nullptr;
}

// "fe80::1%mr0": libc would look the interface up in the kernel. False: it is no such thing, or unknown here.
bool answer_scoped(const char* name, const char* service, const addrinfo* hints, addrinfo** result, int& status,
                   int (*libc)(const char*, const char*, const addrinfo*, addrinfo**)) {
  const char* mark = name != nullptr ? std::strchr(name, '%') : nullptr;
  if (mark == nullptr || mark[1] == 0) return false;
  const unsigned index = if_nametoindex(mark + 1);
  if (index == 0) return false;
  status = libc(std::string(name, mark).c_str(), service, hints, result);
  for (addrinfo* a = status == 0 ? *result : nullptr; a != nullptr; a = a->ai_next) {
    auto& in = *reinterpret_cast<sockaddr_in6*>(a->ai_addr);
    const bool scoped =
        a->ai_family == AF_INET6 && (IN6_IS_ADDR_LINKLOCAL(&in.sin6_addr) || IN6_IS_ADDR_MULTICAST(&in.sin6_addr));
    if (scoped) in.sin6_scope_id = index;
  }
  return true;
}

// Whether a name is to be looked up over the stack.
bool asks_here(const char* name, int family) {
  const bool active = the_stack.load(std::memory_order_relaxed) != nullptr && posix::inside == 0;
  return active && name != nullptr && *name != 0 && !is_number(name) &&
         (family == AF_UNSPEC || family == AF_INET || family == AF_INET6);
}

int eai_of(int status) {
  switch (status) {
    case ARES_ENODATA: return EAI_NODATA;
    case ARES_ENOMEM: return EAI_MEMORY;
    case ARES_ESERVFAIL:
    case ARES_ECANCELLED: return EAI_AGAIN;
    default: return EAI_NONAME;
  }
}

int herrno_of(int status) {
  switch (status) {
    case ARES_ENODATA: return NO_DATA;
    case ARES_ENOTFOUND: return HOST_NOT_FOUND;
    case ARES_ESERVFAIL: return TRY_AGAIN;
    default: return NO_RECOVERY;
  }
}

// Lays out a hostent in `room`; false: too small.
bool lay_out(const Found& found, int family, hostent& host, char* room, size_t bytes) {
  const size_t each = family == AF_INET ? 4 : 16;
  const auto skew = reinterpret_cast<uintptr_t>(room) % alignof(char*);
  const size_t pad = skew == 0 ? 0 : alignof(char*) - skew;
  const size_t count = found.addresses.size();
  const size_t aliases = found.aliases.size();
  const size_t pointers = (count + aliases + 2) * sizeof(char*);
  size_t letters = found.canonical.size() + 1;
  for (const std::string& alias : found.aliases) letters += alias.size() + 1;
  if (bytes < pad + pointers + count * each + letters) return false;
  auto** list = reinterpret_cast<char**>(room + pad);
  char** names = list + count + 1;
  char* at = room + pad + pointers;
  for (size_t i = 0; i < count; ++i, at += each) {
    (void)inet_pton(family, found.addresses[i].c_str(), at);
    list[i] = at;
  }
  for (size_t i = 0; i < aliases; ++i) {
    names[i] = at;
    at = stpcpy(at, found.aliases[i].c_str()) + 1;
  }
  list[count] = names[aliases] = nullptr;
  stpcpy(at, found.canonical.c_str());
  host = {at, names, family, static_cast<int>(each), list};
  return true;
}

}  // namespace

MILLRACE_EXPORT(int, getaddrinfo, (const char* name, const char* service, const addrinfo* hints, addrinfo** result)) {
  static auto* const libc = libcs<int(const char*, const char*, const addrinfo*, addrinfo**)>("getaddrinfo");
  const int flags = hints != nullptr ? hints->ai_flags : AI_V4MAPPED | AI_ADDRCONFIG;
  const int family = hints != nullptr ? hints->ai_family : AF_UNSPEC;
  int scoped = 0;
  if (answer_scoped(name, service, hints, result, scoped, libc)) return scoped;
  if (!asks_here(name, family) || (flags & (AI_NUMERICHOST | AI_IDN | AI_CANONIDN)) != 0) {
    return libc(name, service, hints, result);
  }
  Found found = ask(name, family);
  const bool maps = family == AF_INET6 && (flags & AI_V4MAPPED) != 0;
  if (maps && !unreachable(found) && (found.addresses.empty() || (flags & AI_ALL) != 0)) {
    Found v4 = ask(name, AF_INET);
    v4.addresses.insert(v4.addresses.begin(), found.addresses.begin(), found.addresses.end());
    if (!v4.addresses.empty()) found = std::move(v4);
  }
  if (unreachable(found)) return libc(name, service, hints, result);
  if (found.addresses.empty()) return eai_of(found.status == ARES_SUCCESS ? ARES_ENODATA : found.status);
  addrinfo numeric{};
  if (hints != nullptr) numeric = *hints;
  numeric.ai_flags = (flags & ~(AI_ADDRCONFIG | AI_CANONNAME)) | AI_NUMERICHOST;
  addrinfo* first = nullptr;
  addrinfo** end = &first;
  for (const std::string& address : found.addresses) {
    if (const int bad = libc(address.c_str(), service, &numeric, end); bad != 0) {
      *end = nullptr;
      if (first != nullptr) freeaddrinfo(first);
      return bad;
    }
    while (*end != nullptr) end = &(*end)->ai_next;
  }
  if ((flags & AI_CANONNAME) != 0)
    first->ai_canonname = strdup(found.canonical.empty() ? name : found.canonical.c_str());
  *result = first;
  return 0;
}

MILLRACE_EXPORT(int, gethostbyname2_r,
                (const char* name, int family, hostent* host, char* room, size_t bytes, hostent** result, int* error)) {
  static auto* const libc = libcs<int(const char*, int, hostent*, char*, size_t, hostent**, int*)>("gethostbyname2_r");
  if (family == AF_UNSPEC || !asks_here(name, family)) return libc(name, family, host, room, bytes, result, error);
  Found found = ask(name, family);
  if (unreachable(found)) return libc(name, family, host, room, bytes, result, error);
  *result = nullptr;
  if (found.addresses.empty()) {
    *error = herrno_of(found.status == ARES_SUCCESS ? ARES_ENODATA : found.status);
    return ENOENT;
  }
  if (found.canonical.empty()) found.canonical = name;
  if (!lay_out(found, family, *host, room, bytes)) {
    *error = NETDB_INTERNAL;
    return ERANGE;
  }
  *result = host;
  return 0;
}

MILLRACE_EXPORT(int, gethostbyname_r,
                (const char* name, hostent* host, char* room, size_t bytes, hostent** result, int* error)) {
  return shim_gethostbyname2_r(name, AF_INET, host, room, bytes, result, error);
}

MILLRACE_EXPORT(hostent*, gethostbyname2, (const char* name, int family)) {
  static auto* const libc = libcs<hostent*(const char*, int)>("gethostbyname2");
  if (family == AF_UNSPEC || !asks_here(name, family)) return libc(name, family);
  static thread_local std::array<char, 8'192> room;
  static thread_local hostent host;
  hostent* result = nullptr;
  int error = 0;
  if (shim_gethostbyname2_r(name, family, &host, room.data(), room.size(), &result, &error) != 0) h_errno = error;
  return result;
}

MILLRACE_EXPORT(hostent*, gethostbyname, (const char* name)) { return shim_gethostbyname2(name, AF_INET); }

}  // namespace millrace::shim
