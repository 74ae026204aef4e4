// Frames that come from the memory of this machine (veth, virtio, a bridge of them) with the TCP or UDP checksum left
// unfinished: the field holds the sum of the pseudo-header alone, for a device to complete that is never met.
#pragma once

#include "pkt/packet.h"

namespace millrace::drivers::xdp {

/// Marks the frame kRxL4ChecksumNone if its checksum is unfinished. Only for links that do not damage frames, since one
/// of 65,536 damaged frames would pass too.
void mark_unfinished_checksum(pkt::Packet& frame);

}  // namespace millrace::drivers::xdp
