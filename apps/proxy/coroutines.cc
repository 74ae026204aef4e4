// The proxy as coroutines.
#include <vector>

#include "millrace/task.h"
#include "proxy/proxy.h"

namespace millrace::proxy {
namespace {

Task<> copy(Stream& from, Stream& to, Duration patience) {
  std::vector<std::byte> buffer(16'384);
  for (;;) {
    const auto n = co_await from.read(buffer).within(patience);
    if (n && *n == 0) break;
    if (!n || !co_await to.write(std::span(buffer).first(*n)).within(patience)) co_return to.abort();
  }
  (void)to.shutdown();  // its own answers may go on
}

Task<> carry(Reactor& reactor, Stream client, Options options) {
  auto server = co_await reactor.connect(options.server).within(seconds(5));
  if (!server) co_return client.abort();
  ScopedJob upward(reactor.spawn(copy(client, *server, options.patience)));
  co_await copy(*server, client, options.patience);
  (void)co_await upward.join();
}

Task<> listen(Reactor& reactor, Options options) {
  auto listener = reactor.listen({IpAddr(), options.port});
  if (!listener) co_return reactor.quit(1);
  while (auto client = co_await listener->accept()) reactor.spawn(carry(reactor, std::move(*client), options));
}

}  // namespace

void serve_with_coroutines(Reactor& reactor, const Options& options) { reactor.spawn(listen(reactor, options)); }

}  // namespace millrace::proxy
