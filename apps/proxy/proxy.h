// A TCP proxy, twice: the same program as coroutines and as microthreads.
#pragma once

#include "millrace/async.h"

namespace millrace::proxy {

struct Options {
  uint16_t port = 8080;             ///< to listen on
  Endpoint server;                  ///< where connections are carried to
  Duration patience = seconds(60);  ///< a direction that is silent for longer ends the connection
};

/// Starts listening; what runs afterwards belongs to `reactor`. The options are copied.
void serve_with_coroutines(Reactor& reactor, const Options& options);
void serve_with_microthreads(Reactor& reactor, const Options& options);

}  // namespace millrace::proxy
