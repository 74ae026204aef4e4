// Segment: a mapping of the shared memory, on either side. The service makes it sealed, so that no program can shrink
// it under the service's hands.
#pragma once

#include <cstddef>
#include <span>

#include "runtime/descriptor.h"
#include "runtime/failure.h"
#include "service/layout.h"

namespace millrace::service {

enum class Direction : uint8_t { kToService, kToProgram };

class Segment {
 public:
  /// A fresh one, all zeros.
  static runtime::Outcome<Segment> make();
  /// Someone else's.
  static runtime::Outcome<Segment> map(runtime::Descriptor fd);
  Segment(Segment&& other) noexcept;
  Segment& operator=(Segment&& other) noexcept;
  ~Segment();

  [[nodiscard]] int fd() const { return fd_.get(); }
  [[nodiscard]] Header& header() const { return *at<Header>(0); }
  [[nodiscard]] Descriptor& request(uint32_t number) const { return at<Descriptor>(kRequestsAt)[number % kRequests]; }
  [[nodiscard]] EventCell& event(uint32_t number) const { return at<EventCell>(kEventsAt)[number % kEvents]; }
  [[nodiscard]] Call& call() const { return *at<Call>(kCallAt); }
  [[nodiscard]] Answer& answer() const { return *at<Answer>(kAnswerAt); }
  [[nodiscard]] std::span<std::byte> bulk() const { return {base_ + kBulkAt, kBulkBytes}; }
  /// `index` is below kSockets.
  [[nodiscard]] Flow& flow(uint32_t index, Direction direction) const {
    return at<Flow>(kFlowsAt)[2 * index + static_cast<uint32_t>(direction)];
  }
  [[nodiscard]] std::byte* data(uint32_t index, Direction direction) const {
    return base_ + kDataAt + (uint64_t{2} * index + static_cast<uint32_t>(direction)) * kFlowBytes;
  }

 private:
  Segment(runtime::Descriptor fd, std::byte* base) : fd_(std::move(fd)), base_(base) {}
  template <class T>
  [[nodiscard]] T* at(uint64_t offset) const {
    return reinterpret_cast<T*>(base_ + offset);
  }

  runtime::Descriptor fd_;
  std::byte* base_ = nullptr;
};

}  // namespace millrace::service
