/* The XDP program: takes the frames that belong to the stack, passes everything else to the kernel untouched. What is
 * not understood passes. In address mode all of our addresses is ours: IP, fragments included, ARP that asks for or
 * comes from them, and neighbour solicitations for them. In port mode the kernel has the same addresses, and only TCP
 * and UDP to our ports are ours, with the ICMP errors about what went out from there.
 *
 * Runs on Linux 5.9 and newer. Group and broadcast traffic passes; the stack gets copies by copies.cc. */
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "drivers/xdp/filter_layout.h"

#define INLINE static __attribute__((always_inline)) inline

struct {
  __uint(type, BPF_MAP_TYPE_XSKMAP);
  __uint(max_entries, 1); /* the driver sets the number of queues */
  __type(key, __u32);
  __type(value, __u32);
} sockets SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_HASH);
  __uint(max_entries, MR_MAX_ADDRESSES);
  __type(key, __u32);
  __type(value, __u8);
} addresses4 SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_HASH);
  __uint(max_entries, MR_MAX_ADDRESSES);
  __type(key, struct mr_address6);
  __type(value, __u8);
} addresses6 SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(max_entries, 2 * MR_PORT_WORDS);
  __type(key, __u32);
  __type(value, __u64);
} ports SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(max_entries, 1);
  __type(key, __u32);
  __type(value, struct mr_settings);
} settings SEC(".maps");

enum { ICMP4_UNREACHABLE = 3, ICMP4_TIME_EXCEEDED = 11, ICMP4_PARAMETER = 12 };
enum { ICMP6_LAST_ERROR = 4, ICMP6_SOLICITATION = 135, ICMP6_HEADER = 58 };
enum { ARP_ETHERNET = 1 };

/* Headers as they lie in a frame, packed, so that no alignment is assumed. */
struct ip4 {
  __u8 version_ihl, tos;
  __be16 total, id, fragment;
  __u8 ttl, protocol;
  __be16 checksum;
  __be32 source, destination;
} __attribute__((packed));

struct ip6 {
  __be32 version_flow;
  __be16 payload;
  __u8 next, hops;
  struct mr_address6 source, destination;
} __attribute__((packed));

struct arp {
  __be16 hardware, protocol;
  __u8 hardware_size, protocol_size;
  __be16 operation;
  __u8 sender_mac[6];
  __be32 sender;
  __u8 target_mac[6];
  __be32 target;
} __attribute__((packed));

struct l4_ports {
  __be16 source, destination;
};

struct icmp {
  __u8 type, code;
  __be16 checksum;
  __be32 rest;
};

struct frame {
  void *at; /* the next header */
  void *end;
};

/* A header of that size, or 0; moves behind it. */
#define TAKE(frame, type)                                                                       \
  ({                                                                                            \
    type *taken = (frame)->at;                                                                  \
    if ((void *)(taken + 1) > (frame)->end) return 0;                                           \
    (frame)->at = taken + 1;                                                                    \
    taken;                                                                                      \
  })

INLINE int our4(__be32 address) { return bpf_map_lookup_elem(&addresses4, &address) != 0; }

INLINE int our6(const struct mr_address6 *address) {
  struct mr_address6 key = *address;
  return bpf_map_lookup_elem(&addresses6, &key) != 0;
}

INLINE int our_port(__u8 protocol, __be16 port) {
  if (protocol != IPPROTO_TCP && protocol != IPPROTO_UDP) return 0;
  const __u16 number = bpf_ntohs(port);
  const __u32 word = number / 64 + (protocol == IPPROTO_UDP ? MR_PORT_WORDS : 0);
  const __u64 *bits = bpf_map_lookup_elem(&ports, &word);
  return bits != 0 && (*bits >> (number % 64) & 1) != 0;
}

INLINE int our_arp(struct frame *f) {
  const struct arp *arp = TAKE(f, struct arp);
  if (arp->hardware != bpf_htons(ARP_ETHERNET) || arp->protocol != bpf_htons(ETH_P_IP) || arp->hardware_size != 6 ||
      arp->protocol_size != 4) {
    return 0;
  }
  return our4(arp->target) || our4(arp->sender);
}

/* The packet that an ICMP error quotes: did it come from one of our ports? */
INLINE int quotes_our_port4(struct frame *f) {
  const struct ip4 *ip = TAKE(f, struct ip4);
  if (ip->version_ihl != 0x45 || !our4(ip->source)) return 0;
  const __u8 protocol = ip->protocol;
  const struct l4_ports *l4 = TAKE(f, struct l4_ports);
  return our_port(protocol, l4->source);
}

INLINE int quotes_our_port6(struct frame *f) {
  const struct ip6 *ip = TAKE(f, struct ip6);
  if (!our6(&ip->source)) return 0;
  const __u8 protocol = ip->next;
  const struct l4_ports *l4 = TAKE(f, struct l4_ports);
  return our_port(protocol, l4->source);
}

INLINE int our_ip4(struct frame *f, int by_port) {
  const struct ip4 *ip = TAKE(f, struct ip4);
  if (ip->version_ihl >> 4 != 4 || !our4(ip->destination)) return 0;
  if (!by_port) return 1;
  if (ip->fragment & bpf_htons(0x3fff)) return 0; /* ports are not in every fragment: the kernel's */
  const __u8 protocol = ip->protocol;
  const __u32 options = (ip->version_ihl & 15) * 4 - sizeof(struct ip4);
  if (options > 40) return 0;
  f->at += options;
  if (protocol == IPPROTO_ICMP) {
    const struct icmp *icmp = TAKE(f, struct icmp);
    const __u8 type = icmp->type;
    if (type != ICMP4_UNREACHABLE && type != ICMP4_TIME_EXCEEDED && type != ICMP4_PARAMETER) return 0;
    return quotes_our_port4(f);
  }
  const struct l4_ports *l4 = TAKE(f, struct l4_ports);
  return our_port(protocol, l4->destination);
}

INLINE int our_ip6(struct frame *f, int by_port) {
  const struct ip6 *ip = TAKE(f, struct ip6);
  const __u8 next = ip->next;
  if (our6(&ip->destination)) {
    if (!by_port) return 1;
    if (next == ICMP6_HEADER) {
      const struct icmp *error = TAKE(f, struct icmp);
      return error->type != 0 && error->type <= ICMP6_LAST_ERROR && quotes_our_port6(f);
    }
    const struct l4_ports *l4 = TAKE(f, struct l4_ports);
    return our_port(next, l4->destination);
  }
  if (by_port || next != ICMP6_HEADER || ip->destination.bytes[0] != 0xff) return 0;
  const struct icmp *icmp = TAKE(f, struct icmp);
  if (icmp->type != ICMP6_SOLICITATION) return 0;
  return our6(TAKE(f, struct mr_address6));
}

INLINE int to_us(const __u8 *mac, const __u8 *own) {
  if (mac[0] & 1) return 1;
  return mac[0] == own[0] && mac[1] == own[1] && mac[2] == own[2] && mac[3] == own[3] && mac[4] == own[4] &&
         mac[5] == own[5];
}

INLINE int ours(struct frame *f) {
  const struct ethhdr *ethernet = TAKE(f, struct ethhdr);
  const __u32 zero = 0;
  const struct mr_settings *set = bpf_map_lookup_elem(&settings, &zero);
  if (set == 0 || !to_us(ethernet->h_dest, set->mac)) return 0;
  switch (ethernet->h_proto) {
    case bpf_htons(ETH_P_IP): return our_ip4(f, set->by_port);
    case bpf_htons(ETH_P_IPV6): return our_ip6(f, set->by_port);
    case bpf_htons(ETH_P_ARP): return !set->by_port && our_arp(f);
    default: return 0; /* VLAN tags among them */
  }
}

INLINE int filter(struct xdp_md *context) {
  struct frame f = {(void *)(long)context->data, (void *)(long)context->data_end};
  if (!ours(&f)) return XDP_PASS;
  /* A queue without a socket: passes. */
  return bpf_redirect_map(&sockets, context->rx_queue_index, XDP_PASS);
}

SEC("xdp")
int millrace_filter(struct xdp_md *context) { return filter(context); }

/* The same for frames that do not fit one buffer. */
SEC("xdp.frags")
int millrace_frags(struct xdp_md *context) { return filter(context); }

char LICENSE[] SEC("license") = "Dual BSD/GPL";
