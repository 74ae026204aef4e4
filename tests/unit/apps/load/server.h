// The far end of the generators' tests: a real worker with one address behind a link, whose frames a test carries.
#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <string>

#include "base/memory.h"
#include "millrace/time.h"
#include "pkt/pool.h"
#include "stack/worker.h"

namespace millrace::load {

inline constexpr MacAddr kServerMac{{2, 0, 0, 0, 0, 2}};
inline constexpr MacAddr kClientMac{{2, 0, 0, 0, 0, 1}};
inline constexpr uint16_t kPort = 7;

/// `device_checksum`: of both ends of the link.
class Server {
 protected:
  Server(bool v6, bool device_checksum)
      : server_(*IpAddr::parse(v6 ? "fd00::2" : "198.18.0.2")),
        v6_(v6),
        device_checksum_(device_checksum),
        frames_(8192),
        references_(1024, 0),
        cache_(frames_, references_) {
    stack::WorkerConfig config;
    config.frames = &frames_;
    config.references = &references_;
    config.memory = &memory_;
    config.seed = 11;
    config.start = now_;
    config.tcp.timestamps = true;
    worker_ = std::make_unique<stack::Worker>(config);
    link::NetifConfig netif;
    netif.name = "v0";
    netif.mac = kServerMac;
    netif.limits = limits();
    interface_ = *worker_->add_interface(netif);
  }

  /// Known as a neighbour: fd00::LAST or 198.18.0.LAST.
  IpAddr add_source(int last) {
    const IpAddr source = *IpAddr::parse((v6_ ? "fd00::" : "198.18.0.") + std::to_string(last));
    ask(req::AddNeighbour{interface_, source, kClientMac});
    return source;
  }
  void add_address() { ask(req::AddAddress{interface_, {server_, static_cast<uint8_t>(v6_ ? 64 : 24)}}); }
  [[nodiscard]] link::DeviceLimits limits() const {
    link::DeviceLimits l;
    l.tx_checksum_v4 = l.tx_checksum_v6 = device_checksum_;
    return l;
  }
  Reply ask(const Request& r) {
    const auto reply = worker_->request(r, now_);
    EXPECT_TRUE(reply) << describe(reply ? Error::kIo : reply.error());
    return reply ? *reply : Reply{};
  }
  /// As the link hands a frame over: what a device says to be good is what a virtual link says.
  void cross(pkt::Packet& p) const {
    p.flags = device_checksum_ ? pkt::kRxL4ChecksumNone : 0;
    p.tx_offload = 0;
  }

  IpAddr server_;

 private:
  bool v6_;
  bool device_checksum_;
  base::HeapMemory memory_;
  pkt::HeapPacketPool frames_;
  pkt::HeapPacketPool references_;

 protected:
  pkt::PacketCache cache_;
  Instant now_{seconds(1000).ns()};
  std::unique_ptr<stack::Worker> worker_;
  IfIndex interface_{};
};

}  // namespace millrace::load
