#include "drivers/dpdk/spec.h"

#include <fmt/core.h>

#include <algorithm>
#include <bit>
#include <cctype>
#include <charconv>

namespace millrace::drivers::dpdk {
namespace {

constexpr std::string_view kHint =
    "write a PCI address such as 0000:03:00.0, or a DPDK virtual device such as net_virtio_user0,path=/tmp/vhost.sock "
    "(docs/DPDK.md has them all)";

bool all_hex(std::string_view s) {
  return !s.empty() && std::all_of(s.begin(), s.end(), [](unsigned char c) { return std::isxdigit(c) != 0; });
}

/// "0000:03:00.0" or "03:00.0", completed with the domain; empty if it is neither.
std::string pci_address(std::string_view s) {
  const size_t colons = static_cast<size_t>(std::count(s.begin(), s.end(), ':'));
  const std::string full = colons == 1 ? fmt::format("0000:{}", s) : std::string(s);
  if (full.size() != 12 || full[4] != ':' || full[7] != ':' || full[10] != '.') return {};
  const std::string_view v = full;
  const bool ok =
      all_hex(v.substr(0, 4)) && all_hex(v.substr(5, 2)) && all_hex(v.substr(8, 2)) && all_hex(v.substr(11));
  return ok ? full : std::string();
}

runtime::Outcome<uint16_t> number(std::string_view key, std::string_view text, uint16_t least, uint16_t greatest) {
  uint16_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || value < least || value > greatest) {
    return runtime::failure(
        fmt::format("device key {}={}: expected a number from {} to {}", key, text, least, greatest));
  }
  return value;
}

runtime::Outcome<void> ring(std::string_view key, std::string_view text, uint16_t& out) {
  auto value = number(key, text, 64, 32'768);
  if (!value) return tl::unexpected(value.error());
  if (!std::has_single_bit(*value)) {
    return runtime::failure(fmt::format("device key {}={}: expected a power of two", key, text));
  }
  out = *value;
  return {};
}

/// Takes `key` if it is one of ours; false if it is DPDK's.
runtime::Outcome<bool> take_own(DeviceSpec& spec, std::string_view key, std::string_view value) {
  if (key == "rx_ring" || key == "tx_ring") {
    auto done = ring(key, value, key == "rx_ring" ? spec.rx_ring : spec.tx_ring);
    if (!done) return tl::unexpected(done.error());
    return true;
  }
  if (key == "wait_s" || key == "lro" || key == "promiscuous") {
    auto n = number(key, value, 0, key == "wait_s" ? 3600 : 1);
    if (!n) return tl::unexpected(n.error());
    if (key == "lro") {
      spec.lro = *n != 0;
    } else if (key == "promiscuous") {
      spec.promiscuous = *n != 0;
    } else {
      spec.wait_s = *n;
    }
    return true;
  }
  return false;
}

/// Arguments that DPDK's defaults get wrong for us.
void complete(DeviceSpec& spec) {
  if (spec.is_virtio() && spec.arg("queue_size").empty()) {
    spec.args["queue_size"] = std::to_string(std::max(spec.rx_ring, spec.tx_ring));
  }
}

}  // namespace

std::string_view DeviceSpec::arg(std::string_view key) const {
  const auto it = args.find(key);
  return it == args.end() ? std::string_view() : std::string_view(it->second);
}

std::string DeviceSpec::kernel_interface() const {
  if (kind != "net_af_packet" && kind != "net_af_xdp" && kind != "eth_af_packet") return {};
  return std::string(arg("iface"));
}

std::string DeviceSpec::dpdk_args() const {
  std::string out;
  for (const auto& [key, value] : args) {
    if (!out.empty()) out += ',';
    out += key;
    if (!value.empty()) out.append("=").append(value);
  }
  return out;
}

void ask_for_queues(DeviceSpec& spec, size_t queues) {
  if (queues < 2) return;
  const auto ask = [&](const char* key) { spec.args.try_emplace(key, std::to_string(queues)); };
  if (spec.is_vhost() || spec.is_virtio()) ask("queues");
  if (spec.is_virtio()) spec.args.try_emplace("cq", "1");  // several queues need the control queue
  if (spec.kind == "net_af_packet" || spec.kind == "eth_af_packet") ask("qpairs");
  if (spec.kind == "net_af_xdp") ask("queue_count");
}

runtime::Outcome<DeviceSpec> parse_spec(std::string_view text) {
  for (const std::string_view prefix :
       {std::string_view("--vdev="), std::string_view("--vdev "), std::string_view("vdev:")}) {
    if (text.substr(0, prefix.size()) == prefix) text.remove_prefix(prefix.size());
  }
  DeviceSpec spec;
  const size_t comma = text.find(',');
  const std::string_view name = text.substr(0, comma);
  const std::string pci = pci_address(name);
  spec.pci = !pci.empty();
  if (!spec.pci && name.substr(0, 4) != "net_" && name.substr(0, 4) != "eth_" && name.substr(0, 11) != "virtio_user") {
    return runtime::failure(fmt::format("DPDK knows no device \"{}\"", text), std::string(kHint));
  }
  spec.name = spec.pci ? pci : std::string(name);
  spec.kind = spec.pci ? "pci" : spec.name.substr(0, spec.name.find_last_not_of("0123456789") + 1);

  std::string_view rest = comma == std::string_view::npos ? std::string_view() : text.substr(comma + 1);
  while (!rest.empty()) {
    const size_t end = rest.find(',');
    const std::string_view item = rest.substr(0, end);
    rest = end == std::string_view::npos ? std::string_view() : rest.substr(end + 1);
    const size_t equals = item.find('=');
    const std::string_view key = item.substr(0, equals);
    const std::string_view value = equals == std::string_view::npos ? std::string_view() : item.substr(equals + 1);
    if (key.empty())
      return runtime::failure(fmt::format("device \"{}\" has an empty argument", text), std::string(kHint));
    auto own = take_own(spec, key, value);
    if (!own) return tl::unexpected(own.error());
    if (!*own) spec.args[std::string(key)] = std::string(value);
  }
  complete(spec);
  return spec;
}

}  // namespace millrace::drivers::dpdk
