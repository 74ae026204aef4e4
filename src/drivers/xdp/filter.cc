#include "drivers/xdp/filter.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <fmt/format.h>
#include <linux/if_link.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "drivers/xdp/filter_layout.h"

namespace millrace::drivers::xdp {

// The compiled program; made by the build from filter.bpf.c.
extern const unsigned char kFilterObject[];
extern const size_t kFilterObjectBytes;

namespace {

using runtime::failure;
using runtime::Failure;
using runtime::Outcome;

constexpr const char* kNeedsRights =
    "run as root, or give the program CAP_NET_RAW, CAP_NET_ADMIN and CAP_BPF (setcap "
    "cap_net_raw,cap_net_admin,cap_bpf+ep)";

// What libbpf said last, for the failure that follows. It is quiet otherwise.
std::string& last_words() {
  static std::string words;
  return words;
}

int listen_to_libbpf(libbpf_print_level level, const char* format, va_list arguments) {
  if (level != LIBBPF_WARN) return 0;
  std::array<char, 512> text{};
  std::vsnprintf(text.data(), text.size(), format, arguments);
  last_words() = text.data();
  while (!last_words().empty() && last_words().back() == '\n') last_words().pop_back();
  return 0;
}

// Kernels before 5.11 charge maps to this limit.
void raise_memlock() {
  const rlimit all{RLIM_INFINITY, RLIM_INFINITY};
  setrlimit(RLIMIT_MEMLOCK, &all);
}

Failure attach_failure(const KernelInterface& interface, int error) {
  const std::string& name = interface.name;
  switch (error) {
    case EBUSY:
    case EEXIST:
      return {fmt::format("another XDP program is attached to {}", name),
              fmt::format("stop what uses it (bpftool net shows it), or remove it: ip link set {} xdp off", name)};
    case EPERM:
    case EACCES: return {fmt::format("no permission to attach an XDP program to {}", name), kNeedsRights};
    case ENOSPC:
      return {fmt::format("{} has fewer receive queues than the other end of the cable has transmit queues", name),
              fmt::format("give it more (ethtool -L {} rx N), or say xdp_mode=generic", name)};
    case ERANGE:
    case EMSGSIZE:
      return {fmt::format("the MTU of {} or of its peer is too large for XDP", name),
              fmt::format("ip link set {} mtu 1500 on both ends, or say xdp_mode=generic", name)};
    case EINVAL:
      return {fmt::format("the kernel does not take our XDP program on {}", name),
              "this needs Linux 5.9 or newer, and a driver with XDP or xdp_mode=generic"};
    default:
      return {fmt::format("cannot attach an XDP program to {}: {}", name, std::strerror(error)),
              "try xdp_mode=generic"};
  }
}

}  // namespace

Outcome<std::unique_ptr<Filter>> Filter::load(const std::string& interface, const Options& options) {
  libbpf_set_print(listen_to_libbpf);
  raise_memlock();
  std::unique_ptr<Filter> filter(new Filter(interface));
  if (auto done = filter->load_program(options); !done) return tl::unexpected<Failure>(done.error());
  return filter;
}

Outcome<std::unique_ptr<Filter>> Filter::attach(const KernelInterface& interface, const Options& options) {
  auto filter = load(interface.name, options);
  if (!filter) return filter;
  if (auto done = (*filter)->link(interface, options); !done) return tl::unexpected<Failure>(done.error());
  return filter;
}

Filter::~Filter() {
  if (link_ >= 0) close(link_);
  if (object_ != nullptr) bpf_object__close(object_);
}

Outcome<void> Filter::load_program(const Options& options) {
  last_words().clear();
  bpf_object_open_opts open{};
  open.sz = sizeof open;
  open.object_name = "millrace";
  object_ = bpf_object__open_mem(kFilterObject, kFilterObjectBytes, &open);
  if (object_ == nullptr) return failure(fmt::format("cannot read our own XDP program: {}", std::strerror(errno)));
  bpf_program* chosen = nullptr;
  bpf_program* program = nullptr;
  bpf_object__for_each_program(program, object_) {
    const bool frags = std::strcmp(bpf_program__name(program), "millrace_frags") == 0;
    bpf_program__set_autoload(program, frags == options.frags);
    if (frags == options.frags) chosen = program;
  }
  if (bpf_map* sockets = bpf_object__find_map_by_name(object_, "sockets"); sockets != nullptr) {
    bpf_map__set_max_entries(sockets, options.queues);
  }
  if (const int error = -bpf_object__load(object_); error != 0) {
    if (error == EPERM || error == EACCES) {
      return failure(fmt::format("no permission to load an XDP program for {}", interface_), kNeedsRights);
    }
    return failure(fmt::format("the kernel refuses our XDP program for {}: {}", interface_,
                               last_words().empty() ? std::strerror(error) : last_words()),
                   "this needs Linux 5.9 or newer");
  }
  program_ = bpf_program__fd(chosen);
  mr_settings settings{};
  std::copy(options.mac.bytes.begin(), options.mac.bytes.end(), settings.mac);
  settings.by_port = options.by_port ? 1 : 0;
  const uint32_t zero = 0;
  if (bpf_map_update_elem(map("settings"), &zero, &settings, BPF_ANY) != 0) {
    return failure(fmt::format("cannot set up the XDP program for {}: {}", interface_, std::strerror(errno)));
  }
  return {};
}

Outcome<void> Filter::link(const KernelInterface& interface, const Options& options) {
  int error = EOPNOTSUPP;
  for (const Hook hook : {Hook::kNative, Hook::kGeneric}) {
    if (hook == Hook::kNative ? !options.try_native : !options.try_generic) continue;
    bpf_link_create_opts create{};
    create.sz = sizeof create;
    create.flags = hook == Hook::kNative ? XDP_FLAGS_DRV_MODE : XDP_FLAGS_SKB_MODE;
    link_ = bpf_link_create(program_, static_cast<int>(interface.index), BPF_XDP, &create);
    hook_ = hook;
    if (link_ >= 0) return {};
    error = errno;
    if (error == EBUSY || error == EEXIST || error == EPERM || error == EACCES) break;
  }
  return tl::unexpected<Failure>(attach_failure(interface, error));
}

int Filter::map(const char* name) const { return bpf_object__find_map_fd_by_name(object_, name); }

Outcome<void> Filter::set_socket(uint32_t queue, int socket) {
  if (bpf_map_update_elem(map("sockets"), &queue, &socket, BPF_ANY) == 0) return {};
  return failure(fmt::format("cannot steer queue {} of {}: {}", queue, interface_, std::strerror(errno)));
}

int Filter::change(const IpAddr& address, bool add) {
  const uint8_t yes = 1;
  const auto& bytes = address.bytes();
  const void* key = address.is_v4() ? bytes.data() + 12 : bytes.data();
  const int where = map(address.is_v4() ? "addresses4" : "addresses6");
  return add ? bpf_map_update_elem(where, key, &yes, BPF_ANY) : bpf_map_delete_elem(where, key);
}

Outcome<void> Filter::set_addresses(std::span<const IpAddr> addresses) {
  std::erase_if(addresses_, [&](const IpAddr& old) {
    return std::find(addresses.begin(), addresses.end(), old) == addresses.end() && change(old, false) == 0;
  });
  for (const IpAddr& address : addresses) {
    if (std::find(addresses_.begin(), addresses_.end(), address) != addresses_.end()) continue;
    if (change(address, true) != 0) {
      return failure(fmt::format(
          "cannot take the frames for {} from {}: {}", address.to_string(), interface_,
          errno == E2BIG ? fmt::format("more than {} addresses", +MR_MAX_ADDRESSES) : std::strerror(errno)));
    }
    addresses_.push_back(address);
  }
  return {};
}

Outcome<void> Filter::set_ports(const PortBits& tcp, const PortBits& udp) {
  static_assert(std::tuple_size_v<PortBits> == MR_PORT_WORDS);
  for (uint32_t word = 0; word < 2 * MR_PORT_WORDS; ++word) {
    const uint64_t bits = word < MR_PORT_WORDS ? tcp[word] : udp[word - MR_PORT_WORDS];
    if (bits == 0) continue;
    if (bpf_map_update_elem(map("ports"), &word, &bits, BPF_ANY) != 0) {
      return failure(fmt::format("cannot take ports from {}: {}", interface_, std::strerror(errno)));
    }
  }
  return {};
}

}  // namespace millrace::drivers::xdp
