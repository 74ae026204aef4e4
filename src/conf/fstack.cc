#include "conf/fstack.h"

#include <algorithm>
#include <bit>
#include <charconv>
#include <map>

#include "steer/shard_map.h"

namespace millrace::conf {
namespace {

constexpr size_t kMaxInterfaceName = 15;
constexpr int64_t kMaxPort = 63;
constexpr int64_t kMostVirtual = 64;

// Keys by section that are read and change nothing here.
constexpr std::string_view kUnused[] = {"dpdk.promiscuous",
                                        "dpdk.numa_on",
                                        "dpdk.vlan_strip",
                                        "dpdk.vlan_filter",
                                        "dpdk.pkt_tx_delay",
                                        "dpdk.symmetric_rss",
                                        "dpdk.file_prefix",
                                        "dpdk.log_level",
                                        "port.broadcast",
                                        "port.vip_ifname",
                                        "port.ipfw_pr",
                                        "port.lcore_list",
                                        "port.slave_port_list",
                                        "vdev.iface",
                                        "bond.mode",
                                        "bond.slave",
                                        "bond.primary",
                                        "bond.mac",
                                        "bond.socket_id",
                                        "bond.xmit_policy",
                                        "bond.lsc_poll_period_ms",
                                        "bond.up_delay",
                                        "bond.down_delay",
                                        "rss_check.enable",
                                        "rss_check.rss_tbl",
                                        "kni.enable",
                                        "kni.method",
                                        "kni.kni_action",
                                        "kni.tcp_port",
                                        "kni.udp_port",
                                        "kni.type",
                                        "kni.console_packets_ratelimit",
                                        "kni.general_packets_ratelimit",
                                        "kni.kernel_packets_ratelimit",
                                        "pcap.savelen",
                                        "freebsd.boot.hz",
                                        "freebsd.boot.physmem",
                                        "freebsd.boot.memsz_MB",
                                        "stack.kernel_coexist"};

class Reader {
 public:
  Reader(std::string_view file, uint32_t process) : file_(file) { out_.process = process; }

  tl::expected<Fstack, Problem> read(std::vector<IniEntry> entries) {
    out_.entries = std::move(entries);
    for (const IniEntry& e : out_.entries) {
      if (!take(e)) return tl::unexpected(std::move(problem_));
    }
    if (!cores() || !ports()) return tl::unexpected(std::move(problem_));
    fill_defaults(out_.config);
    share();
    if (auto checked = check(out_.config, file_); !checked) return tl::unexpected(std::move(checked.error()));
    return std::move(out_);
  }

 private:
  struct Port {
    std::map<std::string, const IniEntry*, std::less<>> keys;
    uint32_t line = 0;
  };

  bool bad(const IniEntry& e, const std::string& expected) {
    problem_ = {std::string(file_), e.line, 1, "'" + e.key + "' is \"" + e.value + "\"; expected " + expected};
    return false;
  }
  bool bad(uint32_t line, std::string message) {
    problem_ = {std::string(file_), line, line != 0 ? 1U : 0U, std::move(message)};
    return false;
  }
  bool number(const IniEntry& e, int64_t least, int64_t greatest, int64_t& into) {
    const char* end = e.value.data() + e.value.size();
    int64_t value = 0;
    const auto [stop, error] = std::from_chars(e.value.data(), end, value);
    if (error != std::errc() || stop != end || value < least || value > greatest) {
      return bad(e, "a number from " + std::to_string(least) + " to " + std::to_string(greatest));
    }
    into = value;
    return true;
  }
  bool flag(const IniEntry& e, bool& into) {
    int64_t value = 0;
    if (!number(e, 0, INT32_MAX, value)) return false;
    into = value != 0;
    return true;
  }
  void eal(std::string option, const std::string& value) {
    out_.config.dpdk.eal.push_back(std::move(option));
    out_.config.dpdk.eal.push_back(value);
  }

  bool take(const IniEntry& e);
  bool take_dpdk(const IniEntry& e);
  bool take_numbered(const IniEntry& e, std::string_view kind);
  bool cores();
  void share();
  bool ports();
  bool numbers_of(const IniEntry& e, std::vector<int64_t>& into);
  bool add_port(int64_t id, size_t place);
  bool add_address(const Port& port, std::string_view key, std::string_view length_key, Interface& interface);
  bool add_virtual(const Port& port, Interface& interface);
  bool choose_device(int64_t id, const Port& port, Interface& interface);
  void give_kernel_side(Interface& interface) const;
  [[nodiscard]] std::vector<std::string> devices() const;
  [[nodiscard]] static const IniEntry* find(const Port& port, std::string_view key) {
    const auto found = port.keys.find(key);
    return found == port.keys.end() ? nullptr : found->second;
  }

  std::string_view file_;
  Fstack out_;
  Problem problem_;
  std::map<int64_t, Port> ports_;
  std::map<int64_t, Port> vdevs_;
  const IniEntry* mask_ = nullptr;
  const IniEntry* list_ = nullptr;
  std::vector<std::string> pci_;
  int64_t virtual_ = 0;
  bool tso_ = false;
  bool checksum_ = true;
  bool accept_ra_ = false;
  bool redirects6_ = true;
};

std::vector<std::string> words(std::string_view text, std::string_view separators) {
  std::vector<std::string> out;
  while (!text.empty()) {
    const size_t end = std::min(text.find_first_of(separators), text.size());
    std::string word(text.substr(0, end));
    std::erase_if(word, [](char c) { return c == ' ' || c == '\t'; });
    if (!word.empty()) out.push_back(std::move(word));
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return out;
}

bool Reader::take(const IniEntry& e) {
  if (e.section == "dpdk") return take_dpdk(e);
  for (const std::string_view kind : {"port", "vdev", "bond", "vlan"}) {
    if (e.section.size() > kind.size() && e.section.substr(0, kind.size()) == kind) return take_numbered(e, kind);
  }
  const std::string name = e.section + "." + e.key;
  int64_t value = 0;
  if (e.section == "freebsd.boot" && e.key == "fd_reserve") return number(e, 0, 1'000'000, out_.first_number);
  if (e.section == "pcap" && e.key == "enable") {
    if (!number(e, 0, 1, value)) return false;
    if (value != 0 && out_.config.capture.empty()) out_.config.capture = ".";
    return true;
  }
  if (e.section == "pcap" && e.key == "snaplen") {
    if (!number(e, 1, 262'144, value)) return false;
    out_.config.loop.snap_bytes = std::max<int64_t>(value, 64);
    return true;
  }
  if (e.section == "pcap" && e.key == "savepath") {
    if (!out_.config.capture.empty()) out_.config.capture = e.value;
    return true;
  }
  if (std::find(std::begin(kUnused), std::end(kUnused), name) != std::end(kUnused)) {
    out_.unused.push_back(name);
    return true;
  }
  if (e.section == "freebsd.boot" || e.section == "freebsd.sysctl") {
    if (e.key == "net.inet6.ip6.accept_rtadv") {
      accept_ra_ = e.value != "0";
    } else if (e.key == "net.inet6.icmp6.rediraccept") {
      redirects6_ = e.value != "0";
    } else if (e.key == "net.inet.tcp.delayed_ack") {
      if (e.value == "0") out_.config.tcp.delayed_ack_us = 0;
    } else if (!apply_sysctl(e.key, e.value, out_.config)) {
      out_.unused.push_back(e.key);
    }
    return true;
  }
  out_.unknown.push_back(name);
  return true;
}

bool Reader::take_dpdk(const IniEntry& e) {
  int64_t value = 0;
  bool on = false;
  const std::string_view key = e.key;
  if (key == "lcore_mask") {
    mask_ = &e;
  } else if (key == "port_list") {
    list_ = &e;
  } else if (key == "allow") {
    pci_ = words(e.value, ",");
    std::sort(pci_.begin(), pci_.end());
  } else if (key == "nb_vdev") {
    return number(e, 0, kMostVirtual, virtual_);
  } else if (key == "nb_bond") {
    if (!number(e, 0, kMostVirtual, value)) return false;
    if (value != 0) out_.unused.push_back("dpdk.nb_bond");
  } else if (key == "idle_sleep") {
    return number(e, 0, 1'000'000, out_.idle_sleep_us);
  } else if (key == "tso") {
    return flag(e, tso_);
  } else if (key == "tx_csum_offoad_skip") {
    if (!flag(e, on)) return false;
    checksum_ = !on;
  } else if (key == "channel") {
    if (!number(e, 1, 32, value)) return false;
    eal("-n", e.value);
  } else if (key == "memory") {
    if (!number(e, 1, INT32_MAX, value)) return false;
    eal("-m", e.value);
  } else if (key == "no_huge") {
    if (!flag(e, on)) return false;
    if (on) out_.config.dpdk.eal.emplace_back("--no-huge");
  } else if (key == "base_virtaddr") {
    eal("--base-virtaddr", e.value);
  } else if (key == "fstack_log_level") {
    return number(e, 0, 8, out_.log_level);
  } else if (key == "fstack_log_file_prefix") {
    out_.log_prefix = e.value;
  } else {
    const std::string name = "dpdk." + e.key;
    const bool known = std::find(std::begin(kUnused), std::end(kUnused), name) != std::end(kUnused);
    (known ? out_.unused : out_.unknown).push_back(name);
  }
  return true;
}

bool Reader::take_numbered(const IniEntry& e, std::string_view kind) {
  IniEntry id = e;
  id.key = std::string(kind) + "N";
  id.value = e.section.substr(kind.size());
  int64_t n = 0;
  if (!number(id, 0, 4'095, n)) return false;
  if (kind == "vlan") return bad(e.line, "[" + e.section + "]: VLAN interfaces are not supported");
  static constexpr std::string_view kPortKeys[] = {"if_name",   "addr",           "netmask",  "gateway",
                                                   "addr6",     "prefix_len",     "gateway6", "vip_addr",
                                                   "vip_addr6", "vip_prefix_len", "driver",   "device"};
  static constexpr std::string_view kVdevKeys[] = {"path", "queues", "queue_size", "mac", "cq"};
  const auto in = [&](const auto& keys) {
    return std::find(std::begin(keys), std::end(keys), e.key) != std::end(keys);
  };
  if ((kind == "port" && in(kPortKeys)) || (kind == "vdev" && in(kVdevKeys))) {
    Port& port = (kind == "port" ? ports_ : vdevs_)[n];
    if (port.line == 0) port.line = e.line;
    port.keys[e.key] = &e;
    return true;
  }
  const std::string name = std::string(kind) + "." + e.key;
  const bool known = std::find(std::begin(kUnused), std::end(kUnused), name) != std::end(kUnused);
  (known ? out_.unused : out_.unknown).push_back(e.section + "." + e.key);
  return true;
}

// A bit for each core, the lowest for the first process.
bool Reader::cores() {
  if (mask_ != nullptr) {
    std::string_view digits = mask_->value;
    if (digits.substr(0, 2) == "0x" || digits.substr(0, 2) == "0X") digits.remove_prefix(2);
    for (size_t i = 0; i < digits.size(); ++i) {
      uint32_t four = 0;
      const char c = digits[digits.size() - 1 - i];
      const auto [end, error] = std::from_chars(&c, &c + 1, four, 16);
      if (error != std::errc() || end != &c + 1) return bad(*mask_, "a hexadecimal mask of cores");
      for (uint32_t bit = 0; bit < 4; ++bit) {
        if ((four >> bit & 1) != 0) out_.cpus.push_back(static_cast<uint32_t>(i) * 4 + bit);
      }
    }
    if (out_.cpus.empty()) return bad(*mask_, "a hexadecimal mask of cores");
    if (out_.process >= out_.cpus.size()) {
      return bad(*mask_, "a core for process " + std::to_string(out_.process) + " too");
    }
    out_.config.cpu = out_.cpus[out_.process];
    return true;
  }
  out_.cpus.push_back(0);
  return true;
}

// Several cores are several processes. Those of a TAP share it; the other drivers give a device to one process.
void Reader::share() {
  Config& config = out_.config;
  const auto& all = config.interfaces;
  const bool taps = std::all_of(all.begin(), all.end(), [](const Interface& i) { return i.driver == "tap"; });
  if (out_.cpus.size() == 1 || !taps || out_.cpus.size() > steer::kMaxWorkers) return;
  config.processes = static_cast<uint32_t>(out_.cpus.size());
  config.process = out_.process;
}

bool Reader::numbers_of(const IniEntry& e, std::vector<int64_t>& into) {
  for (const std::string& word : words(e.value, ",")) {
    IniEntry part = e;
    const size_t dash = word.find('-');
    int64_t first = 0;
    int64_t last = 0;
    part.value = word.substr(0, dash);
    if (!number(part, 0, kMaxPort, first)) return false;
    last = first;
    if (dash != std::string::npos) {
      part.value = word.substr(dash + 1);
      if (!number(part, first, kMaxPort, last)) return false;
    }
    for (int64_t n = first; n <= last; ++n) into.push_back(n);
  }
  return true;
}

// What DPDK would number 0, 1, ...: PCI devices first, then virtual ones.
std::vector<std::string> Reader::devices() const {
  std::vector<std::string> all = pci_;
  for (int64_t i = 0; i < virtual_; ++i) {
    std::string device = "virtio_user" + std::to_string(i);
    if (const auto found = vdevs_.find(i); found != vdevs_.end()) {
      for (const auto& [key, entry] : found->second.keys) device += "," + key + "=" + entry->value;
    }
    all.push_back(std::move(device));
  }
  return all;
}

bool Reader::ports() {
  std::vector<int64_t> wanted;
  if (list_ != nullptr && !numbers_of(*list_, wanted)) return false;
  for (size_t i = 0; i < wanted.size(); ++i) {
    if (!add_port(wanted[i], i)) return false;
  }
  return true;
}

bool Reader::add_address(const Port& port, std::string_view key, std::string_view length_key, Interface& interface) {
  const IniEntry* e = find(port, key);
  if (e == nullptr) return true;
  const bool v6 = key == "addr6";
  const auto address = IpAddr::parse(e->value);
  if (!address || address->is_v6() != v6 || address->is_unspecified() || address->is_multicast()) {
    return bad(*e, v6 ? "an IPv6 address" : "an IPv4 address");
  }
  int64_t length = v6 ? 64 : 24;
  if (const IniEntry* l = find(port, length_key)) {
    if (v6) {
      if (!number(*l, 1, 128, length)) return false;
    } else {
      const auto mask = IpAddr::parse(l->value);
      length = mask && mask->is_v4() ? std::countl_one(mask->v4_value()) : -1;
      if (length <= 0 || std::popcount(mask->v4_value()) != length) return bad(*l, "a mask such as 255.255.255.0");
    }
  }
  interface.addresses.push_back({*address, static_cast<uint8_t>(length)});
  return true;
}

bool Reader::add_virtual(const Port& port, Interface& interface) {
  for (const bool v6 : {false, true}) {
    const IniEntry* e = find(port, v6 ? "vip_addr6" : "vip_addr");
    if (e == nullptr) continue;
    int64_t length = v6 ? 64 : 32;
    const IniEntry* l = find(port, "vip_prefix_len");
    if (v6 && l != nullptr && !number(*l, 1, 128, length)) return false;
    for (const std::string& word : words(e->value, ";")) {
      const auto address = IpAddr::parse(word);
      if (!address || address->is_v6() != v6) return bad(*e, v6 ? "IPv6 addresses" : "IPv4 addresses");
      interface.addresses.push_back({*address, static_cast<uint8_t>(length)});
    }
  }
  return true;
}

bool Reader::choose_device(int64_t id, const Port& port, Interface& interface) {
  if (const IniEntry* e = find(port, "driver")) {
    if (e->value != "tap" && e->value != "xdp" && e->value != "dpdk") return bad(*e, "tap, xdp or dpdk");
    interface.driver = e->value;
    if (const IniEntry* d = find(port, "device")) interface.device = d->value;
    return true;
  }
  const std::vector<std::string> all = devices();
  if (all.empty()) {
    interface.driver = "tap";
    interface.device = "mr" + std::to_string(id);
    return true;
  }
  if (static_cast<size_t>(id) >= all.size()) {
    return bad(port.line,
               "port " + std::to_string(id) + " has no device: allow and nb_vdev name " + std::to_string(all.size()));
  }
  interface.driver = "dpdk";
  interface.device = all[static_cast<size_t>(id)];
  return true;
}

// On a TAP the kernel is the neighbour: it gets the gateway's address, or the first other one of the network.
void Reader::give_kernel_side(Interface& interface) const {
  for (const Prefix& ours : interface.addresses) {
    if (ours.length == (ours.addr.is_v4() ? 32 : 128)) continue;
    for (const IpAddr& gateway : interface.gateways) {
      if (gateway.is_v4() == ours.addr.is_v4()) interface.kernel_addresses.push_back({gateway, ours.length});
    }
    const auto same = [&](const Prefix& p) { return p.addr.is_v4() == ours.addr.is_v4(); };
    const auto& kernels = interface.kernel_addresses;
    if (std::any_of(kernels.begin(), kernels.end(), same)) continue;
    std::array<uint8_t, 16> bytes = ours.addr.bytes();
    for (uint8_t last = 1; last < 3; ++last) {
      bytes[15] = static_cast<uint8_t>((bytes[15] & ~3) | last);
      if (!(IpAddr(bytes) == ours.addr)) break;
    }
    interface.kernel_addresses.push_back({IpAddr(bytes), ours.length});
  }
}

bool Reader::add_port(int64_t id, size_t place) {
  const auto found = ports_.find(id);
  if (found == ports_.end())
    return bad(list_->line,
               "port_list names " + std::to_string(id) + ", but there is no [port" + std::to_string(id) + "]");
  const Port& port = found->second;
  Interface interface;
  const IniEntry* name = find(port, "if_name");
  interface.name = name != nullptr ? name->value : "f-stack-" + std::to_string(id);
  if (interface.name.empty() || interface.name.size() > kMaxInterfaceName) return bad(*name, "1 to 15 characters");
  if (!add_address(port, "addr", "netmask", interface) || !add_address(port, "addr6", "prefix_len", interface) ||
      !add_virtual(port, interface)) {
    return false;
  }
  for (const char* key : {"gateway", "gateway6"}) {
    const IniEntry* e = find(port, key);
    if (e == nullptr || e->value.empty() || e->value == "0.0.0.0") continue;
    const auto address = IpAddr::parse(e->value);
    if (!address || address->is_unspecified() || address->is_multicast()) return bad(*e, "an address");
    if (place == 0) {
      interface.gateways.push_back(*address);
    } else {
      out_.unused.push_back("port" + std::to_string(id) + "." + key);
    }
  }
  if (!choose_device(id, port, interface)) return false;
  interface.tso = tso_ || interface.driver != "dpdk";
  interface.checksum = checksum_;
  interface.accept_ra = interface.autoconf = accept_ra_;
  interface.redirects6 = redirects6_;
  if (interface.driver == "tap") give_kernel_side(interface);
  out_.config.interfaces.push_back(std::move(interface));
  return true;
}

}  // namespace

tl::expected<Fstack, Problem> parse_fstack(std::string_view text, std::string_view file, uint32_t process) {
  auto entries = parse_ini(text, file);
  if (!entries) return tl::unexpected(std::move(entries.error()));
  auto out = Reader(file, process).read(std::move(*entries));
  if (out && !out->config.capture.empty()) {
    out->config.capture += "/f-stack-" + std::to_string(process) + ".pcapng";
  }
  return out;
}

}  // namespace millrace::conf
