// The packet dispatcher, raw frames, traffic counters.
#include <algorithm>
#include <cstring>
#include <vector>

#include "api/state.h"
#include "runtime/frame_client.h"

namespace millrace::api {
namespace {

// Stands before the worker at the first port. Used with the lock of the Stack held.
class Dispatcher final : public runtime::FrameClient {
 public:
  void attach(const runtime::FramePort& port) override { port_ = port; }

  size_t input(std::span<pkt::Packet*> frames, Instant) override {
    if (plain == nullptr && contextual == nullptr) return frames.size();
    size_t kept = 0;
    for (pkt::Packet* frame : frames) {
      uint16_t bytes = frame->len;
      const int queue = ask(*frame, bytes);
      if (queue >= 0 && queue < queues_) {
        // A process is the queue of its number.
        const bool others = queue != queue_ && worker().give(static_cast<uint32_t>(queue), port_.interface, frame);
        if (!others) frames[kept++] = frame;
      } else if (queue == FF_DISPATCH_RESPONSE && frame->next == nullptr && bytes <= frame->buf_len - frame->off) {
        frame->len = bytes;
        frame->total = bytes;
        frame->flags &= pkt::kExternal;
        frame->tx_offload = 0;
        waiting_.push_back(frame);
      } else {
        port_.packets->free(frame);
      }
    }
    return kept;
  }
  size_t output(std::span<pkt::Packet*> out, Instant) override {
    const size_t n = std::min(out.size(), waiting_.size());
    std::copy_n(waiting_.begin(), n, out.begin());
    waiting_.erase(waiting_.begin(), waiting_.begin() + static_cast<ptrdiff_t>(n));
    return n;
  }
  [[nodiscard]] bool wants_output() const override { return !waiting_.empty(); }

  int send(const void* data, size_t bytes) {
    if (port_.packets == nullptr) return -ENETDOWN;
    pkt::Packet* frame = port_.packets->frame();
    if (frame == nullptr) return -ENOBUFS;
    if (bytes > static_cast<size_t>(frame->buf_len - frame->off)) {
      port_.packets->free(frame);
      return -EMSGSIZE;
    }
    std::memcpy(frame->data(), data, bytes);
    frame->len = static_cast<uint16_t>(bytes);
    frame->total = static_cast<uint32_t>(bytes);
    waiting_.push_back(frame);
    return 0;
  }

  dispatch_func_t plain = nullptr;
  dispatch_func_context_t contextual = nullptr;

 private:
  [[nodiscard]] int ask(pkt::Packet& frame, uint16_t& bytes) const {
    const auto queue = static_cast<uint16_t>(queue_);
    const auto queues = static_cast<uint16_t>(queues_);
    if (plain != nullptr) return plain(frame.data(), &bytes, queue, queues);
    return contextual(frame.data(), &bytes, queue, queues, {});
  }
  [[nodiscard]] static stack::Worker& worker() { return state().transport->host().worker(); }
  int queue_ = static_cast<int>(state().config->config.process);
  int queues_ = static_cast<int>(state().config->config.processes);
  runtime::FramePort port_{};
  std::vector<pkt::Packet*> waiting_;
};

// Stands there from its first use on.
Dispatcher& dispatcher() {
  static auto* one = [] {
    auto* made = new Dispatcher;  // the loop may ask it until the process ends
    state().transport->host().set_frame_client(*made);
    return made;
  }();
  return *one;
}

void set_dispatcher(dispatch_func_t plain, dispatch_func_context_t contextual) {
  const posix::Lock lock(the_stack());
  if (lock.busy()) return;
  dispatcher().plain = plain;
  dispatcher().contextual = contextual;
}

}  // namespace
}  // namespace millrace::api

using namespace millrace;

void ff_regist_packet_dispatcher(dispatch_func_t func) { api::set_dispatcher(func, nullptr); }
void ff_regist_packet_dispatcher_context(dispatch_func_context_t func) { api::set_dispatcher(nullptr, func); }

int ff_dpdk_raw_packet_send(void* data, int total, uint16_t port_id) {
  constexpr int kEthernetHeader = 14;
  if (data == nullptr || total < kEthernetHeader || port_id != 0) return api::result(-EINVAL);
  const posix::Lock lock(api::the_stack());
  if (lock.busy()) return api::result(-EAGAIN);
  return api::result(api::dispatcher().send(data, static_cast<size_t>(total)));
}

void ff_get_traffic(void* buffer) {
  const posix::Lock lock(api::the_stack());
  ff_traffic_args sum{};
  if (!lock.busy()) {
    for (const runtime::DeviceCounters& c : api::state().transport->host().device_counters()) {
      sum.rx_packets += c.rx_frames;
      sum.rx_bytes += c.rx_bytes;
      sum.rx_dropped += c.rx_dropped + c.rx_errors;
      sum.tx_packets += c.tx_frames;
      sum.tx_bytes += c.tx_bytes;
      sum.tx_dropped += c.tx_errors;
    }
  }
  std::memcpy(buffer, &sum, sizeof sum);
}

int ff_rss_self_queue_info(uint16_t* proc_id, uint16_t* queueid, uint16_t* nb_queues, uint16_t* reta_size) {
  (void)api::the_stack();
  if (proc_id != nullptr) *proc_id = static_cast<uint16_t>(api::state().config->process);
  if (queueid != nullptr) *queueid = static_cast<uint16_t>(api::state().config->config.process);
  if (nb_queues != nullptr) *nb_queues = static_cast<uint16_t>(api::state().config->config.processes);
  if (reta_size != nullptr) *reta_size = 0;
  return 0;
}
