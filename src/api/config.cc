// ff_load_config and ff_global_cfg: the arguments and the file, and what programs look at of them.
#include <getopt.h>
#include <stdlib.h>
#include <string.h>

#include <algorithm>
#include <charconv>
#include <fstream>
#include <sstream>

#include "api/state.h"
#include "ff/ff_config.h"
#include "ff/ff_log.h"

using namespace millrace;

struct ff_config ff_global_cfg;
int dpdk_argc = 0;
char* dpdk_argv[DPDK_CONFIG_NUM + 1];

namespace millrace::api {
namespace {

constexpr const char* kDefaultFile = "config.ini";

struct Arguments {
  std::string file = kDefaultFile;
  bool named = false;
  std::string type = "auto";
  uint32_t process = 0;
};

// The program's own arguments may stand between ours, so getopt(), which moves them about, is not used.
std::optional<std::string> read_arguments(int argc, char* const argv[], Arguments& out) {
  struct Option {
    std::string_view word;
    std::string_view letter;
  };
  constexpr Option kOptions[] = {{"--conf", "-c"}, {"--proc-type", "-t"}, {"--proc-id", "-p"}};
  for (int i = 1; i < argc && argv[i] != nullptr; ++i) {
    const std::string_view word = argv[i];
    if (word == "--") break;
    for (size_t o = 0; o < std::size(kOptions); ++o) {
      const Option& option = kOptions[o];
      std::string value;
      if (word.size() > option.word.size() && word.substr(0, option.word.size()) == option.word &&
          word[option.word.size()] == '=') {
        value = word.substr(option.word.size() + 1);
      } else if (word == option.word || word == option.letter) {
        if (i + 1 >= argc) return std::string(word) + " has no value";
        value = argv[++i];
      } else {
        continue;
      }
      if (o == 0) {
        out.file = value;
        out.named = true;
      } else if (o == 1) {
        if (value != "auto" && value != "primary" && value != "secondary") {
          return "--proc-type is \"" + value + "\"; expected auto, primary or secondary";
        }
        out.type = value;
      } else {
        const auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), out.process);
        if (error != std::errc() || end != value.data() + value.size() || out.process >= DPDK_MAX_LCORE) {
          return "--proc-id is \"" + value + "\"; expected a number from 0 to 127";
        }
      }
      break;
    }
  }
  return std::nullopt;
}

std::string list_of(const std::vector<std::string>& names) {
  std::string out;
  for (const std::string& name : names) out += (out.empty() ? "" : ", ") + name;
  return out;
}

char* copy_of(const std::string& text) { return strdup(text.c_str()); }

const std::string* value_of(const std::string& section, const std::string& key) {
  const auto& entries = state().config->entries;
  const auto found = std::find_if(entries.rbegin(), entries.rend(),
                                  [&](const conf::IniEntry& e) { return e.section == section && e.key == key; });
  return found == entries.rend() ? nullptr : &found->value;
}

char* text_of(const std::string& section, const std::string& key) {
  const std::string* value = value_of(section, key);
  return value == nullptr ? nullptr : copy_of(*value);
}

template <class T = int>
T number_of(const std::string& section, const std::string& key, T fallback = 0) {
  const std::string* value = value_of(section, key);
  return value == nullptr ? fallback : static_cast<T>(strtol(value->c_str(), nullptr, 10));
}

// "a;b;c" as an array.
uint32_t split(const char* text, char**& array) {
  array = static_cast<char**>(calloc(VIP_MAX_NUM, sizeof(char*)));
  uint32_t n = 0;
  std::stringstream words(text != nullptr ? text : "");
  for (std::string word; n < VIP_MAX_NUM && std::getline(words, word, ';');) array[n++] = copy_of(word);
  return n;
}

void fill_port(ff_port_cfg& port, uint16_t id) {
  const std::string section = "port" + std::to_string(id);
  port.port_id = id;
  port.name = copy_of(section);
  port.ifname = text_of(section, "if_name");
  port.addr = text_of(section, "addr");
  port.netmask = text_of(section, "netmask");
  port.broadcast = text_of(section, "broadcast");
  port.gateway = text_of(section, "gateway");
  port.addr6_str = text_of(section, "addr6");
  port.gateway6_str = text_of(section, "gateway6");
  port.prefix_len = number_of<uint8_t>(section, "prefix_len", 64);
  port.vip_ifname = text_of(section, "vip_ifname");
  port.vip_addr_str = text_of(section, "vip_addr");
  port.nb_vip = split(port.vip_addr_str, port.vip_addr_array);
  port.vip_addr6_str = text_of(section, "vip_addr6");
  port.nb_vip6 = split(port.vip_addr6_str, port.vip_addr6_array);
  port.vip_prefix_len = number_of<uint8_t>(section, "vip_prefix_len", 64);
  port.pr_addr_str = text_of(section, "ipfw_pr");
  port.nb_lcores = ff_global_cfg.dpdk.nb_procs;
  for (int i = 0; i < port.nb_lcores; ++i) port.lcore_list[i] = ff_global_cfg.dpdk.proc_lcore[i];
}

// Ports by their ids in port_list, "0-2,4".
void fill_ports() {
  auto& dpdk = ff_global_cfg.dpdk;
  const std::string* list = value_of("dpdk", "port_list");
  std::vector<uint16_t> ids;
  std::stringstream words(list != nullptr ? *list : "");
  for (std::string word; std::getline(words, word, ',');) {
    char* rest = nullptr;
    const long first = strtol(word.c_str(), &rest, 10);
    const long last = rest != nullptr && *rest == '-' ? strtol(rest + 1, nullptr, 10) : first;
    for (long id = first; id <= last; ++id) ids.push_back(static_cast<uint16_t>(id));
  }
  dpdk.nb_ports = static_cast<int>(ids.size());
  dpdk.portid_list = static_cast<uint16_t*>(calloc(ids.size() + 1, sizeof(uint16_t)));
  std::copy(ids.begin(), ids.end(), dpdk.portid_list);
  dpdk.max_portid = ids.empty() ? uint16_t{0} : *std::max_element(ids.begin(), ids.end());
  dpdk.port_cfgs = static_cast<ff_port_cfg*>(calloc(size_t{dpdk.max_portid} + 1, sizeof(ff_port_cfg)));
  for (const uint16_t id : ids) fill_port(dpdk.port_cfgs[id], id);
  dpdk.nb_vdev = number_of("dpdk", "nb_vdev");
  dpdk.vdev_cfgs = static_cast<ff_vdev_cfg*>(calloc(static_cast<size_t>(dpdk.nb_vdev) + 1, sizeof(ff_vdev_cfg)));
  for (int i = 0; i < dpdk.nb_vdev; ++i) {
    const std::string section = "vdev" + std::to_string(i);
    ff_vdev_cfg& vdev = dpdk.vdev_cfgs[i];
    vdev.vdev_id = static_cast<uint8_t>(i);
    vdev.name = copy_of(section);
    vdev.iface = text_of(section, "iface");
    vdev.path = text_of(section, "path");
    vdev.mac = text_of(section, "mac");
    vdev.nb_queues = number_of<uint8_t>(section, "queues", 1);
    vdev.queue_size = number_of<uint16_t>(section, "queue_size", 256);
    vdev.nb_cq = number_of<uint8_t>(section, "cq");
  }
}

ff_freebsd_cfg* list_section(const std::string& section) {
  ff_freebsd_cfg* first = nullptr;
  for (const conf::IniEntry& e : state().config->entries) {
    if (e.section != section) continue;
    auto* one = static_cast<ff_freebsd_cfg*>(calloc(1, sizeof(ff_freebsd_cfg)));
    one->name = copy_of(e.key);
    one->str = copy_of(e.value);
    one->value = one->str;
    one->vlen = e.value.size() + 1;
    one->next = first;
    first = one;
  }
  return first;
}

void fill_global(const Arguments& arguments) {
  const conf::Fstack& config = *state().config;
  ff_global_cfg = {};
  ff_global_cfg.filename = copy_of(arguments.file);
  auto& dpdk = ff_global_cfg.dpdk;
  dpdk.proc_type = copy_of(arguments.type);
  dpdk.proc_id = static_cast<int>(config.process);
  dpdk.nb_procs = static_cast<int>(config.cpus.size());
  dpdk.proc_lcore = static_cast<uint16_t*>(calloc(config.cpus.size(), sizeof(uint16_t)));
  std::copy(config.cpus.begin(), config.cpus.end(), dpdk.proc_lcore);
  dpdk.lcore_mask = text_of("dpdk", "lcore_mask");
  dpdk.base_virtaddr = text_of("dpdk", "base_virtaddr");
  dpdk.file_prefix = text_of("dpdk", "file_prefix");
  dpdk.allow = text_of("dpdk", "allow");
  dpdk.nb_channel = number_of("dpdk", "channel");
  dpdk.memory = number_of("dpdk", "memory");
  dpdk.no_huge = number_of("dpdk", "no_huge");
  dpdk.numa_on = number_of("dpdk", "numa_on", 1);
  dpdk.promiscuous = number_of("dpdk", "promiscuous", 1);
  dpdk.tso = number_of("dpdk", "tso");
  dpdk.tx_csum_offoad_skip = number_of("dpdk", "tx_csum_offoad_skip");
  dpdk.vlan_strip = number_of("dpdk", "vlan_strip", 1);
  dpdk.symmetric_rss = number_of("dpdk", "symmetric_rss");
  dpdk.idle_sleep = number_of<unsigned>("dpdk", "idle_sleep");
  dpdk.pkt_tx_delay = number_of<unsigned>("dpdk", "pkt_tx_delay", BURST_TX_DRAIN_US);
  dpdk.log_level = number_of<uint16_t>("dpdk", "log_level");
  dpdk.nb_bond = number_of("dpdk", "nb_bond");
  fill_ports();
  auto& kni = ff_global_cfg.kni;
  kni.enable = number_of("kni", "enable");
  kni.kni_action = text_of("kni", "kni_action");
  kni.method = text_of("kni", "method");
  kni.tcp_port = text_of("kni", "tcp_port");
  kni.udp_port = text_of("kni", "udp_port");
  kni.console_packets_ratelimit = number_of("kni", "console_packets_ratelimit");
  kni.general_packets_ratelimit = number_of("kni", "general_packets_ratelimit");
  kni.kernel_packets_ratelimit = number_of("kni", "kernel_packets_ratelimit");
  ff_global_cfg.log.level = static_cast<int>(config.log_level);
  ff_global_cfg.log.dir = copy_of(config.log_prefix);
  auto& freebsd = ff_global_cfg.freebsd;
  freebsd.boot = list_section("freebsd.boot");
  freebsd.sysctl = list_section("freebsd.sysctl");
  freebsd.hz = number_of("freebsd.boot", "hz", 100);
  freebsd.physmem = number_of<long>("freebsd.boot", "physmem");
  freebsd.fd_reserve = number_of("freebsd.boot", "fd_reserve");
  freebsd.mem_size = number_of("freebsd.boot", "memsz_MB");
  ff_global_cfg.pcap.enable = number_of<uint16_t>("pcap", "enable");
  ff_global_cfg.pcap.snap_len = number_of<uint16_t>("pcap", "snaplen");
  ff_global_cfg.pcap.save_len = number_of<uint32_t>("pcap", "savelen");
  ff_global_cfg.pcap.save_path = text_of("pcap", "savepath");
}

}  // namespace
}  // namespace millrace::api

int ff_load_config(int argc, char* const argv[]) {
  api::Arguments arguments;
  if (const auto wrong = api::read_arguments(argc, argv, arguments)) {
    api::say(*wrong);
    return -1;
  }
  std::ifstream in(arguments.file, std::ios::binary);
  if (!in && arguments.named) {
    api::say("cannot read " + arguments.file + ": " + strerror(errno));
    return -1;
  }
  std::stringstream text;
  if (in) text << in.rdbuf();
  auto config = conf::parse_fstack(text.str(), arguments.file, arguments.process);
  if (!config) {
    api::say(config.error().to_string());
    return -1;
  }
  api::state().config = std::move(*config);
  const conf::Fstack& read = *api::state().config;
  std::string notes;
  if (!read.unused.empty()) notes = "without a meaning here: " + api::list_of(read.unused);
  if (!read.unknown.empty()) notes += (notes.empty() ? "unknown: " : "; unknown: ") + api::list_of(read.unknown);
  if (!notes.empty()) api::say(arguments.file + ": " + notes);
  api::fill_global(arguments);
  dpdk_argc = 0;
  for (const std::string& word : read.config.dpdk.eal) {
    if (dpdk_argc < DPDK_CONFIG_NUM) dpdk_argv[dpdk_argc++] = api::copy_of(word);
  }
  return 0;
}
