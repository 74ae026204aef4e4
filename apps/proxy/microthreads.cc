// The proxy as microthreads.
#include <vector>

#include "millrace/micro.h"
#include "proxy/proxy.h"

namespace millrace::proxy {
namespace {

using micro::wait;

void copy(Stream& from, Stream& to, Duration patience) {
  std::vector<std::byte> buffer(16'384);
  for (;;) {
    const auto n = wait(from.read(buffer).within(patience));
    if (n && *n == 0) break;
    if (!n || !wait(to.write(std::span(buffer).first(*n)).within(patience))) return to.abort();
  }
  (void)to.shutdown();  // its own answers may go on
}

void carry(Reactor& reactor, Stream& client, const Options& options) {
  auto server = wait(reactor.connect(options.server).within(seconds(5)));
  if (!server) return client.abort();
  ScopedJob upward(micro::spawn(reactor, [&] { copy(client, *server, options.patience); }));
  copy(*server, client, options.patience);
  (void)wait(upward.join());
}

void listen(Reactor& reactor, const Options& options) {
  auto listener = reactor.listen({IpAddr(), options.port});
  if (!listener) return reactor.quit(1);
  while (auto client = wait(listener->accept())) {
    const auto held = std::make_shared<Stream>(std::move(*client));
    micro::spawn(reactor, [&reactor, held, options] { carry(reactor, *held, options); });
  }
}

}  // namespace

void serve_with_microthreads(Reactor& reactor, const Options& options) {
  micro::spawn(reactor, [&reactor, options] { listen(reactor, options); });
}

}  // namespace millrace::proxy
