/* What ff_init() has read, under F-Stack's names. Texts are NULL and numbers 0 where the file does not name them, but
 * for those that F-Stack gives a value of its own. What has no meaning for this stack is here nevertheless. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define DPDK_CONFIG_NUM 16
#define DPDK_CONFIG_MAXLEN 256
#define DPDK_MAX_LCORE 128
#define DPDK_MAX_VLAN_FILTER 128
#define MAX_PKT_BURST 32
#define BURST_TX_DRAIN_US 100
#define VIP_MAX_NUM 64
#define PCAP_SNAP_MINLEN 94
#define PCAP_SAVE_MINLEN (2 << 22)

/* The arguments for DPDK; its environment is started by the stack itself. */
extern int dpdk_argc;
extern char* dpdk_argv[DPDK_CONFIG_NUM + 1];

struct ff_hw_features {
  uint8_t rx_csum;
  uint8_t rx_lro;
  uint8_t tx_csum_ip;
  uint8_t tx_csum_l4;
  uint8_t tx_tso;
};

struct ff_vlan_cfg;

struct ff_port_cfg {
  uint16_t port_id;
  char* name; /* "port0" */
  char* ifname;
  uint8_t mac[6];
  struct ff_hw_features hw_features;
  char* addr;
  char* netmask;
  char* broadcast;
  char* gateway;
  char* addr6_str;
  char* gateway6_str;
  uint8_t prefix_len;
  char* vip_ifname;
  char* vip_addr_str;
  char** vip_addr_array;
  uint32_t nb_vip;
  char* vip_addr6_str;
  char** vip_addr6_array;
  uint32_t nb_vip6;
  uint8_t vip_prefix_len;
  char* pr_addr_str;
  int nb_lcores;
  uint16_t lcore_list[DPDK_MAX_LCORE];
  int nb_slaves;
  uint16_t* slave_portid_list;
  int nb_vlan;
  struct ff_vlan_cfg* vlan_cfgs[DPDK_MAX_VLAN_FILTER];
};

struct ff_vdev_cfg {
  uint8_t vdev_id;
  char* name;
  char* iface;
  char* path;
  char* mac;
  uint8_t nb_queues;
  uint8_t nb_cq;
  uint16_t queue_size;
};

struct ff_freebsd_cfg {
  char* name;
  char* str;
  void* value;
  size_t vlen;
  struct ff_freebsd_cfg* next;
};

struct ff_bond_cfg;
struct ff_rss_check_cfg;

struct ff_config {
  char* filename;
  struct {
    char* proc_type;
    int proc_id;
    int nb_procs;
    char* lcore_mask;
    char* proc_mask;
    uint16_t* proc_lcore; /* nb_procs of them */
    char* base_virtaddr;
    char* file_prefix;
    char* allow;
    int nb_channel;
    int memory;
    int no_huge;
    int numa_on;
    int promiscuous;
    int tso;
    int tx_csum_offoad_skip;
    int vlan_strip;
    int nb_vlan_filter;
    uint16_t vlan_filter_id[DPDK_MAX_VLAN_FILTER];
    int symmetric_rss;
    unsigned idle_sleep;
    unsigned pkt_tx_delay;
    int nb_ports;
    uint16_t max_portid;
    uint16_t* portid_list;
    uint16_t log_level;
    struct ff_port_cfg* port_cfgs; /* by port id, up to max_portid */
    struct ff_vlan_cfg* vlan_cfgs;
    int nb_vdev;
    struct ff_vdev_cfg* vdev_cfgs;
    int nb_bond;
    struct ff_bond_cfg* bond_cfgs;
    struct ff_rss_check_cfg* rss_check_cfgs;
  } dpdk;
  struct {
    int enable;
    char* kni_action;
    char* method;
    char* tcp_port;
    char* udp_port;
    int console_packets_ratelimit;
    int general_packets_ratelimit;
    int kernel_packets_ratelimit;
  } kni;
  struct {
    int level;
    const char* dir; /* the prefix of the log file's name */
    void* f;         /* its FILE*, while it is open */
  } log;
  struct {
    struct ff_freebsd_cfg* boot;
    struct ff_freebsd_cfg* sysctl;
    long physmem;
    int hz;
    int fd_reserve;
    int mem_size;
  } freebsd;
  struct {
    uint16_t enable;
    uint16_t snap_len;
    uint32_t save_len;
    char* save_path;
  } pcap;
};

extern struct ff_config ff_global_cfg;

/* Reads the arguments and the file and fills ff_global_cfg; ff_init() does. 0, or -1 after a sentence on standard
 * error. */
int ff_load_config(int argc, char* const argv[]);

#ifdef __cplusplus
}
#endif
