// HttpdProgram: the HTTP server and the optional echo service as one program of a worker.
#pragma once

#include <optional>
#include <string>

#include "httpd/echo.h"
#include "httpd/server.h"
#include "httpd/site.h"
#include "millrace/program.h"

namespace millrace::httpd {

struct HttpdOptions {
  uint16_t port = 80;
  std::optional<uint16_t> echo_port{};
  Duration idle_timeout = ServerOptions{}.idle_timeout;
  Duration request_timeout = ServerOptions{}.request_timeout;
};

class HttpdProgram final : public Program {
 public:
  HttpdProgram(const HttpdOptions& options, Site site);

  void start(Net& net) override;
  void event(Net& net, const Event& event) override;
  void tick(Net& net) override;
  void stop(Net& net) override;

  [[nodiscard]] const HttpServer& http() const { return http_; }
  [[nodiscard]] const EchoServer& echo() const { return echo_; }

 private:
  void arm(Net& net);

  HttpdOptions options_;
  Site site_;
  HttpServer http_;
  EchoServer echo_;
  Instant armed_ = kNever;
};

}  // namespace millrace::httpd
