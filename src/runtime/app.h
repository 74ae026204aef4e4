// App: the main() of every program on the native API. It owns the common flags (--config, --interface, --address, ...),
// reads the configuration, builds the worker and its devices, runs the loop and turns failures into one sentence and a
// non-zero status.
//
//   int main(int argc, char** argv) {
//     runtime::App app("millrace-httpd", "HTTP server on the Millrace stack", "millrace-httpd --tap mr0 --root .");
//     drivers::register_all(app.drivers());
//     uint16_t port = 80;
//     app.cli().add_option("--port", port, "port to listen on");
//     return app.run(argc, argv, [&] { return std::make_unique<Httpd>(port); });
//   }
#pragma once

#include <CLI/CLI.hpp>
#include <functional>
#include <memory>
#include <string>

#include "conf/config.h"
#include "millrace/program.h"
#include "runtime/device.h"
#include "runtime/failure.h"
#include "runtime/frame_client.h"
#include "runtime/poll_client.h"
#include "runtime/stages.h"

namespace millrace::runtime {

class App {
 public:
  /// `example` is shown by --help and must work when pasted.
  App(std::string name, const std::string& description, const std::string& example);
  ~App();
  App(const App&) = delete;
  App& operator=(const App&) = delete;

  /// For the program's own options; bind them to variables that outlive run().
  [[nodiscard]] CLI::App& cli();
  [[nodiscard]] DriverRegistry& drivers();
  /// The defaults of this program, changed before run(); file and flags override them. From the factory on, what is in
  /// force.
  [[nodiscard]] conf::Config& config();
  /// Where the loop's time goes; nullptr unless the program runs.
  [[nodiscard]] const Stages* stages() const;

  /// For programs that make frames of their own; to be called in the factory at the latest. Borrowed until run() ends.
  void set_frame_client(FrameClient* client);
  /// Likewise, for programs that other processes ask. Only with one worker.
  void set_poll_client(PollClient* client);

  /// Makes the program; called once for each worker, after options and configuration were read and before devices are
  /// opened. A std::unique_ptr to a Program, or runtime::failure(...) for options that make no sense together.
  using Factory = std::function<Outcome<std::unique_ptr<Program>>()>;
  /// Everything from the flags to the exit status: 0, the status given to Net::stop(), 1 for a failure, 2 for bad flags
  /// or a bad configuration.
  int run(int argc, char** argv, const Factory& make);
  /// Only the configuration that `words`, flags as on the command line, and the file they name make. Every word is a
  /// flag or a flag's value.
  Outcome<conf::Config> configure(const std::vector<std::string>& words);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace millrace::runtime
