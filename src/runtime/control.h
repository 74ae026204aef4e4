// The control socket: a UNIX stream socket where anybody with the permission may ask one question a connection, a line
// of words, and reads the answer until the end. Questions only look. A thread of its own talks to clients; the loop
// answers between turns, so that a slow client never touches the data path.
#pragma once

#include <atomic>
#include <condition_variable>
#include <functional>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <thread>

#include "runtime/descriptor.h"
#include "runtime/failure.h"
#include "runtime/wake.h"

namespace millrace::runtime {

inline constexpr const char* kControlDirectory = "/run/millrace";

class ControlServer {
 public:
  /// Listens at `path`. The socket file of a process that is gone is replaced; that of a living one is a failure.
  /// `waker` wakes the loop when a question waits.
  static Outcome<std::unique_ptr<ControlServer>> listen(const std::string& path, const Waker& waker);
  ~ControlServer();
  ControlServer(const ControlServer&) = delete;
  ControlServer& operator=(const ControlServer&) = delete;

  /// Whether a question waits.
  [[nodiscard]] bool asked() const { return asked_.load(std::memory_order_acquire); }
  /// Called by the loop, often: answers the waiting question, if any.
  template <class Answer>
  void serve(Answer&& answer) {
    if (asked_.load(std::memory_order_acquire)) reply(answer(std::string_view(question_)));
  }
  [[nodiscard]] const std::string& path() const { return path_; }

 private:
  ControlServer(std::string path, Descriptor socket, Descriptor stop, const Waker& waker);
  void run();
  void serve_client(const Descriptor& client);
  void reply(std::string text);

  std::string path_;
  Descriptor socket_;
  Descriptor stop_;  // an eventfd: readable ends the thread
  const Waker& waker_;
  std::atomic<bool> asked_{false};
  std::string question_;  // written by the thread before asked_, read by the loop after it
  std::mutex mutex_;
  std::condition_variable answered_;
  std::optional<std::string> answer_;
  std::atomic<bool> ending_{false};
  std::thread thread_;
};

/// The default place for `interface`, or an empty string if the directory cannot be written. Removes what killed
/// processes left there.
[[nodiscard]] std::string default_control_path(const std::string& interface);

/// Asks the process that listens at `path`. For tools.
[[nodiscard]] Outcome<std::string> ask(const std::string& path, std::string_view question);

}  // namespace millrace::runtime
