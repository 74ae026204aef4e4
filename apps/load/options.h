// What a load run does.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "millrace/address.h"
#include "millrace/time.h"

namespace millrace::load {

enum class Mode : uint8_t { kHttp, kEcho, kUdp };

struct Options {
  Endpoint target;
  Mode mode = Mode::kHttp;
  uint32_t connections = 1;
  uint32_t pipeline = 1;              ///< requests in flight on one connection
  uint64_t outstanding = 0;           ///< requests in flight in all, on connections chosen at random; 0: no such limit
  double rate = 0;                    ///< requests a second, started on schedule; 0: closed loop
  uint32_t requests_per_connection = 0;  ///< then close and connect again; 0: never
  std::string path = "/small";
  uint32_t size = 64;                 ///< bytes of an echo request
  uint64_t bytes = 0;                 ///< ask for /bytes/N; 0: ask for `path`
  bool check_all = false;             ///< compare every byte of long bodies, not some of each piece
  Duration warmup = seconds(1);
  Duration duration = seconds(5);
  Duration patience = seconds(20);    ///< for all connections to open, and without any response
  double connect_rate = 0;            ///< connects a second; 0: as fast as they are answered
  uint32_t connects_at_once = 512;
  std::vector<IpAddr> sources;        ///< local addresses to use in turn; empty: by route
  bool fixed_ports = false;           ///< choose local ports here, from 1,024 up
  bool templated = false;             ///< send from templates, beside the stack
  bool timestamps = true;             ///< with templates: offer them (RFC 7323)
  double forge_rate = 0;              ///< forged SYNs a second beside the connections; with templates
  bool json = false;
};

}  // namespace millrace::load
