// Sockets of one worker: handles, received data, accept queues, errors, and the events that programs see. A socket is
// 64 bytes; received data belongs to it and outlives the connection.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "base/slab.h"
#include "millrace/event.h"
#include "millrace/request.h"
#include "pkt/block.h"
#include "pkt/pool.h"
#include "raw/icmp.h"
#include "tcp/tcp.h"
#include "udp/udp.h"

namespace millrace::sock {

enum class Kind : uint8_t { kFree, kListener, kStream, kDatagram };

enum SocketFlag : uint8_t {
  kUnaccepted = 1 << 0,  ///< waits in a listener's queue; its events are held back
  kEnd = 1 << 1,         ///< the peer's FIN is behind the queued data
  kShut = 1 << 2,        ///< the program closed its direction
  kConnecting = 1 << 3,
  kStarved = 1 << 4,     ///< a write found no block; waits in starved_
};

struct alignas(64) Socket {
  uint32_t gen = 0;   // Slab's
  uint32_t link = 0;  // Slab's while free; next in the accept queue while in use
  uint64_t user = 0;
  uint32_t conn = 0;  ///< 0: none (any more); a datagram socket's index in udp/
  Kind kind = Kind::kFree;
  uint8_t flags = 0;
  uint8_t error = 0;  ///< Error + 1 that the next read or write reports
  uint8_t spare = 0;
  pkt::Packet* head = nullptr;  ///< received data, one long chain
  pkt::Packet* tail = nullptr;
  uint32_t queued = 0;      ///< bytes in the chain; for a listener, connections waiting
  uint32_t wait_head = 0;   ///< listener: accept queue
  uint32_t wait_tail = 0;
  uint32_t event_index = 0; ///< place in the pending events, valid in event_epoch only
  uint32_t event_epoch = 0;
  uint32_t listener = 0;    ///< unaccepted: whose queue
};
static_assert(sizeof(Socket) == 64);

class Sockets final : public tcp::Owner {
 public:
  Sockets(base::MemorySource& memory, uint32_t limit, pkt::PacketCache& packets, pkt::BlockPool& blocks);
  void bind(tcp::Tcp& tcp, udp::Udp& udp, raw::Icmp& icmp) {
    tcp_ = &tcp;
    udp_ = &udp;
    icmp_ = &icmp;
  }

  // Requests.
  Result<Reply> listen(const req::Listen& r);
  Result<Reply> connect(const req::Connect& r, Instant now);
  Result<Reply> accept(const req::Accept& r);
  Result<Reply> set_user(const req::SetUser& r);
  /// One chunk of a send: the bytes taken, or false and why none were. (Not a Result: see Tcp::usual_send_space.)
  bool send(Handle h, std::span<const std::byte> data, bool more, Instant now, size_t& taken, Error& why);
  /// Room to remember where urgent data ends: kNoBuffers if there is none.
  Result<void> prepare_urgent(Handle h);
  void end_urgent_here(Handle h);
  void end_record(Handle h);
  Result<Reply> urgent_left(const req::UrgentLeft& r);
  Result<Reply> lend(const req::LendBuffer& r);
  Result<Reply> send_lent(const req::SendLent& r, Instant now);
  Result<Reply> drop_lent(const req::DropLent& r);
  Result<Reply> receive(const req::Receive& r, Instant now);
  Result<Reply> borrow(const req::Borrow& r);
  Result<Reply> release(const req::Release& r, Instant now);
  Result<Reply> shutdown(const req::Shutdown& r, Instant now);
  Result<Reply> close(const req::Close& r, Instant now);
  Result<Reply> abort(const req::Abort& r, Instant now);
  Result<Reply> set_options(const req::SetOptions& r, Instant now);
  Result<Reply> take_error(const req::TakeError& r);

  // Requests of datagram sockets (datagrams.cc).
  Result<Reply> open_datagram(const req::OpenDatagram& r);
  Result<Reply> connect_datagram(const req::ConnectDatagram& r);
  Result<Reply> send_batch(const req::SendBatch& r, Instant now);
  Result<Reply> receive_batch(const req::ReceiveBatch& r);
  Result<Reply> release_batch(const req::ReleaseBatch& r);
  Result<Reply> set_datagram_options(const req::SetDatagramOptions& r);
  Result<Reply> names(const req::Names& r) const;
  Result<Reply> look_at(const req::Look& r) const;
  Result<Reply> read_tcp_info(const req::ReadTcpInfo& r, Instant now);
  /// What `call(index in udp/)` says, or kBadHandle.
  template <class Call>
  Result<Reply> with_datagram(Handle h, Call&& call) {
    const Socket* s = find(h, Kind::kDatagram);
    if (s == nullptr) return fail(Error::kBadHandle);
    if (const auto done = call(s->conn); !done) return fail(done.error());
    return Reply{};
  }
  [[nodiscard]] bool is_datagram(Handle h) { return find(h, Kind::kDatagram) != nullptr; }

  /// Carries TCP's effects and returned blocks over to sockets and events. Once per burst, advance or request.
  void flush();
  /// While a write waits for blocks, which come back through no door of the worker, they are looked for now and then.
  void advance(Instant now) {
    if (!starved_.empty()) starved_due_ = now + kStarvedPoll;
  }
  [[nodiscard]] Instant next_deadline() const { return starved_.empty() ? kNever : starved_due_; }
  /// Small data left unread at the end of a turn moves out of its device buffer, so that a byte never pins one.
  void compact();

  [[nodiscard]] std::span<const Event> events();
  void clear_events() { published_.clear(); }
  /// Whether the handle is a stream whose connection lives.
  [[nodiscard]] bool has_connection(Handle h) {
    const Socket* s = find(h, Kind::kStream);
    return s != nullptr && s->conn != 0;
  }

  // tcp::Owner
  uint32_t accepted(uint32_t listener_sock, uint32_t conn) override;

  [[gnu::always_inline]] void prefetch(uint32_t index) { __builtin_prefetch(&slab_[index], 1); }
  [[nodiscard]] const Socket& at(uint32_t index) const { return slab_[index]; }
  /// The socket that the handle names, or null.
  [[nodiscard]] const Socket* look(Handle h) { return slab_.find(h.index, h.gen); }
  [[nodiscard]] Handle handle_of(uint32_t index) const { return {index, slab_[index].gen}; }
  template <class Visit>
  void each(Visit&& visit) const {
    for (uint32_t i = 1; i < slab_.end_index(); ++i) {
      if (slab_.in_use(i)) visit(i, slab_[i]);
    }
  }
  [[nodiscard]] Endpoint listener_endpoint(uint32_t index) const;
  /// Frees what every socket holds, without a word to the peers.
  void clear();

 private:
  struct Borrowed {
    pkt::Packet* packet = nullptr;
    Handle socket;
    uint32_t bytes = 0;
    uint32_t gen = 0;
  };

  static constexpr Duration kStarvedPoll = milliseconds(10);
  Socket* find(Handle h, Kind kind);
  void starve(Handle h, Socket& s, Instant now);
  void feed();
  // What the requests that streams and datagram sockets share do for the latter.
  bool send_datagram(Handle h, std::span<const std::byte> data, Instant now, size_t& taken, Error& why);
  Result<size_t> send_messages(uint32_t index, std::span<const Message> messages, Instant now);
  Result<Reply> receive_datagram(const req::Receive& r);
  Result<Reply> borrow_datagram(Handle h);
  Result<Reply> close_datagram(Handle h);
  void emit(uint32_t index, uint32_t mask, uint64_t cookie = 0);
  void append(uint32_t index, pkt::Packet* data);
  pkt::Packet* pop(Socket& s);
  void consumed(Socket& s, uint32_t bytes, uint32_t charge, Instant now);
  void free_received(Socket& s);
  Result<size_t> no_connection(Socket& s, bool writing);
  pkt::LentBlock* lent_block(std::byte* buffer) const;

  base::Slab<Socket> slab_;
  pkt::PacketCache& packets_;
  pkt::BlockPool& blocks_;
  tcp::Tcp* tcp_ = nullptr;
  udp::Udp* udp_ = nullptr;
  raw::Icmp* icmp_ = nullptr;
  std::vector<Event> pending_;
  std::vector<Event> published_;
  uint32_t epoch_ = 1;
  uint32_t event_seq_ = 0;
  std::vector<Borrowed> borrowed_;
  std::vector<uint32_t> borrowed_free_;
  std::vector<Handle> fresh_;  // sockets that got data since the last compact()
  std::vector<pkt::LentBlock*> lent_;
  std::vector<Handle> starved_;  // refused a write for want of blocks; each socket once
  uint64_t starved_level_ = 0;   // bytes in use, as last seen while somebody waited
  Instant starved_due_{};
  std::vector<std::pair<uint32_t, Endpoint>> listeners_;
};

}  // namespace millrace::sock
