// What one of several workers gets of the limits that are the process's.
#include <algorithm>

#include "conf/config.h"

namespace millrace::conf {

Config share_of_worker(Config config) {
  const int64_t workers = config.workers;
  const auto share = [workers](int64_t& limit) { limit = (limit + workers - 1) / workers; };
  WorkerSettings& w = config.worker;
  for (int64_t* limit : {&w.frames, &w.references, &w.max_connections, &w.max_half_open, &w.max_time_wait, &w.block_mib,
                         &w.max_datagram_sockets, &w.max_messages, &config.tcp.challenge_acks_per_second}) {
    share(*limit);
  }
  // A region for each size of block; with less, small sends would take the largest ones.
  w.block_mib = std::max<int64_t>(w.block_mib, 8);
  return config;
}

}  // namespace millrace::conf
