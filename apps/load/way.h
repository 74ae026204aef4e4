// How frames to a server travel: learned from a frame of its own, for generators that send frames beside the stack.
#pragma once

#include <optional>

#include "millrace/address.h"
#include "pkt/packet.h"

namespace millrace::load {

struct Way {
  MacAddr next_hop{};  ///< where frames to the server go
  IpAddr source;       ///< the local address
};

/// The way back to `server`, if the frame is one of its segments or datagrams to `local_port` (0: to any port).
/// `protocol` is wire::kProtocolTcp or kProtocolUdp.
[[nodiscard]] std::optional<Way> way_of(const pkt::Packet& frame, uint8_t protocol, const Endpoint& server,
                                        uint16_t local_port);

}  // namespace millrace::load
