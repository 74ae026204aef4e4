/* What the XDP program (filter.bpf.c) and the driver (filter.cc) both know: names and layouts of its maps. C, since the
 * program is. */
#pragma once

#include <linux/types.h>

enum {
  MR_MAX_ADDRESSES = 1024,
  MR_PORT_WORDS = 1024, /* 65,536 bits */
};

/* The only entry of the map `settings`. */
struct mr_settings {
  __u8 mac[6];  /* frames to other hosts pass */
  __u8 by_port; /* 1: of our addresses only the ports of the maps below are ours, and ARP, ND and echo are the kernel's
                 */
  __u8 unused;
};

/* Keys of the map `addresses6`, in network order. `addresses4` has the address as it stands in the packet. */
struct mr_address6 {
  __u8 bytes[16];
};

/* The map `ports` has MR_PORT_WORDS words for TCP, then as many for UDP: bit p % 64 of word p / 64. */
