// Frames that come from the memory of this machine (veth, virtio, a bridge of them) with the TCP or UDP checksum left
// unfinished: the field holds the sum of the pseudo-header alone, for a device to complete that is never met. Some are
// uncut TCP segments too, for a device to cut.
#pragma once

#include "pkt/packet.h"

namespace millrace::drivers::xdp {

/// Marks the frame kRxL4ChecksumNone if its checksum is unfinished. Only for links that do not damage frames, since one
/// of 65,536 damaged frames would pass too.
void mark_unfinished_checksum(pkt::Packet& frame);

/// Marks a frame of more than `mtu` bytes of IP kRxMerged, with the size of the segments that it would have been cut
/// to. False: it is no TCP. A row of UDP datagrams looks like one of them, so nobody can tell where they ended.
[[nodiscard]] bool mark_merged(pkt::Packet& frame, uint16_t mtu);

}  // namespace millrace::drivers::xdp
