// The native API: a Program runs inside a worker's loop and asks it for things through Net. No locks, no threads: every
// call comes from the worker's own thread, and a Program never blocks.
//
//   class Echo : public millrace::Program {
//     void start(millrace::Net& net) override { (void)net.listen({millrace::IpAddr::any_v4(), 7}); }
//     void event(millrace::Net& net, const millrace::Event& e) override { ... }
//   };
//
// docs/NATIVE_API.md is the guide; its examples are compiled by the tests.
#pragma once

#include <span>

#include "millrace/event.h"
#include "millrace/request.h"

namespace millrace {

/// The door to a worker. Implemented by the runtime's loop and by the simulator.
class Door {
 public:
  virtual ~Door() = default;
  virtual Result<Reply> request(const Request& request) = 0;
  /// The instant of the current loop turn.
  [[nodiscard]] virtual Instant now() const = 0;
  /// The program's tick() is called once at or after `when`; a later call replaces an earlier one.
  virtual void wake_at(Instant when) = 0;
  /// Ends the loop after this turn; `status` becomes the process's exit status.
  virtual void stop(int status) = 0;
};

/// What a piece of zero-copy receive looks like. `end` is true when the peer has closed and nothing is queued.
struct Borrowed {
  std::span<const std::byte> data;
  uint64_t token = 0;
  bool end = false;
};

/// Thin, typed calls over Door. Errors are those of the socket: kWouldBlock where POSIX says EAGAIN, and so on.
class Net {
 public:
  explicit Net(Door& door) : door_(door) {}

  [[nodiscard]] Instant now() const { return door_.now(); }
  void wake_at(Instant when) { door_.wake_at(when); }
  void stop(int status = 0) { door_.stop(status); }

  /// Opens a listener. `user` comes back in its kAcceptable events. kAddressInUse, kAddressNotHere, kTooMany.
  Result<Handle> listen(const Endpoint& local, uint64_t user = 0, const SocketOptions& options = {},
                        uint32_t backlog = 1024) {
    return handle_of(door_.request(req::Listen{local, backlog, user, options}));
  }
  /// Takes a waiting connection; `user` comes back in its events. kWouldBlock when none waits.
  Result<Handle> accept(Handle listener, uint64_t user = 0) {
    return handle_of(door_.request(req::Accept{listener, user}));
  }
  /// Starts an active open; kConnected or kError follows as an event. kNetUnreachable, kAddressInUse, kTooMany.
  Result<Handle> connect(const Endpoint& remote, uint64_t user = 0, const SocketOptions& options = {},
                         const Endpoint& local = {}) {
    return handle_of(door_.request(req::Connect{remote, local, user, options}));
  }
  /// The same, with the first data if the server has given a cookie for that (req::Connect); `taken` bytes of it went.
  Result<Handle> connect_with(const Endpoint& remote, std::span<const std::byte> first, size_t& taken,
                              uint64_t user = 0, const SocketOptions& options = {}) {
    const auto reply = door_.request(req::Connect{remote, {}, user, options, 0, true, first});
    taken = reply ? reply->bytes : 0;
    return handle_of(reply);
  }
  /// What a connection knows of its path, in Linux's layout (tcp_info.h). kBadHandle, kNotConnected.
  Result<TcpInfo> tcp_info(Handle h) {
    TcpInfo info;
    if (const auto read = door_.request(req::ReadTcpInfo{h, &info}); !read) return fail(read.error());
    return info;
  }
  /// Bytes taken, from 1 to data.size(); kWouldBlock when the send buffer is full, kNoBuffers when memory is
  /// short (kWritable follows both).
  Result<size_t> write(Handle h, std::span<const std::byte> data, bool more = false) {
    return bytes_of(door_.request(req::Send{h, data, more}));
  }
  /// As write(); the peer is told that everything up to the last byte taken is urgent. kNoBuffers too where too many
  /// connections have urgent data.
  Result<size_t> write_urgent(Handle h, std::span<const std::byte> data) {
    return bytes_of(door_.request(req::Send{h, data, false, true}));
  }
  /// Bytes to read up to the end of the peer's urgent data (kUrgent); 0 if it was read, or there was none.
  Result<size_t> urgent_left(Handle h) { return bytes_of(door_.request(req::UrgentLeft{h})); }
  /// Bytes read; 0 at the end of the peer's data; kWouldBlock when nothing is there yet (kReadable follows).
  Result<size_t> read(Handle h, std::span<std::byte> into) {
    return bytes_of(door_.request(req::Receive{h, into, false}));
  }
  /// Borrows the oldest received piece without a copy; valid until release(). The receive window stays charged.
  Result<Borrowed> borrow(Handle h) {
    auto reply = door_.request(req::Borrow{h});
    if (!reply) return fail(reply.error());
    return Borrowed{reply->view, reply->token, reply->token == 0};
  }
  void release(const Borrowed& piece) { (void)door_.request(req::Release{piece.token}); }
  /// A buffer to fill and send() without a copy; empty result kNoBuffers when the pool is exhausted.
  Result<std::span<std::byte>> lend(uint32_t bytes) {
    auto reply = door_.request(req::LendBuffer{bytes});
    if (!reply) return fail(reply.error());
    return std::span<std::byte>{reply->buffer, bytes};
  }
  /// Queues `bytes` of a lent buffer; see req::SendLent for its lifetime.
  Result<size_t> write_lent(Handle h, std::byte* buffer, uint32_t bytes, uint64_t cookie = 0) {
    return bytes_of(door_.request(req::SendLent{h, buffer, bytes, cookie}));
  }
  void drop_lent(std::byte* buffer) { (void)door_.request(req::DropLent{buffer}); }
  /// Sends FIN after what is queued; reading goes on.
  Result<void> shutdown(Handle h) { return void_of(door_.request(req::Shutdown{h})); }
  void close(Handle h) { (void)door_.request(req::Close{h}); }
  void abort(Handle h) { (void)door_.request(req::Abort{h}); }
  /// Opens a datagram socket; `user` comes back in its events. kAddressInUse, kAddressNotHere, kTooMany.
  Result<Handle> open_datagram(const Endpoint& local, uint64_t user = 0, const DatagramOptions& options = {},
                               DatagramKind kind = DatagramKind::kUdp) {
    return handle_of(door_.request(req::OpenDatagram{local, kind, user, options}));
  }
  /// Hears and sends to `remote` only; an unspecified address undoes it. kNetUnreachable, kAddressInUse.
  Result<void> connect_datagram(Handle h, const Endpoint& remote) {
    return void_of(door_.request(req::ConnectDatagram{h, remote}));
  }
  /// Sends one datagram. kWouldBlock (kWritable follows), kTooBig, kNetUnreachable, or the error of an earlier one.
  Result<void> send_to(Handle h, std::span<const std::byte> data, const Endpoint& remote) {
    Message m;
    m.data = data;
    m.remote = remote;
    return void_of(door_.request(req::SendBatch{h, {&m, 1}}));
  }
  /// Takes one datagram, copied to `into`: Message::data is its part there. kWouldBlock (kReadable follows).
  Result<Message> receive_from(Handle h, std::span<std::byte> into, bool peek = false) {
    Message m;
    m.into = into;
    auto reply = door_.request(req::ReceiveBatch{h, {&m, 1}, peek});
    if (!reply) return fail(reply.error());
    return m;
  }
  /// Sends messages in order; how many were taken, an error only if none was. Messages with a token are given back by
  /// being sent.
  Result<size_t> send_batch(Handle h, std::span<const Message> messages) {
    return bytes_of(door_.request(req::SendBatch{h, messages}));
  }
  /// Takes waiting messages, borrowed where Message::into is empty; give those back with release_batch or by sending.
  Result<size_t> receive_batch(Handle h, std::span<Message> messages) {
    return bytes_of(door_.request(req::ReceiveBatch{h, messages, false}));
  }
  void release_batch(std::span<const Message> messages) { (void)door_.request(req::ReleaseBatch{messages}); }
  Result<void> set_datagram_options(Handle h, const DatagramOptions& o) {
    return void_of(door_.request(req::SetDatagramOptions{h, o}));
  }
  /// From now on datagrams to `group` that arrive at `interface` come to this socket. kInvalid, kAlreadyExists,
  /// kTooMany.
  Result<void> join_group(Handle h, const IpAddr& group, IfIndex interface = IfIndex::kNone,
                          const IpAddr& source = {}) {
    return void_of(door_.request(req::JoinGroup{h, group, interface, source}));
  }
  Result<void> leave_group(Handle h, const IpAddr& group, IfIndex interface = IfIndex::kNone,
                           const IpAddr& source = {}) {
    return void_of(door_.request(req::LeaveGroup{h, group, interface, source}));
  }
  /// The oldest error of a socket with an error queue; kWouldBlock when there is none.
  Result<DatagramError> take_error(Handle h) {
    DatagramError error;
    auto reply = door_.request(req::TakeError{h, &error});
    if (!reply) return fail(reply.error());
    return error;
  }
  /// The local end of a socket of any kind.
  Result<Endpoint> local_endpoint(Handle h) {
    Endpoint local;
    auto reply = door_.request(req::Names{h, &local, nullptr});
    if (!reply) return fail(reply.error());
    return local;
  }
  Result<void> set_user(Handle h, uint64_t user) { return void_of(door_.request(req::SetUser{h, user})); }
  Result<void> set_options(Handle h, const SocketOptions& o) { return void_of(door_.request(req::SetOptions{h, o})); }
  /// Any other request.
  Result<Reply> request(const Request& r) { return door_.request(r); }

 private:
  static Result<Handle> handle_of(const Result<Reply>& r) {
    if (!r) return fail(r.error());
    return r->handle;
  }
  static Result<size_t> bytes_of(const Result<Reply>& r) {
    if (!r) return fail(r.error());
    return r->bytes;
  }
  static Result<void> void_of(const Result<Reply>& r) {
    if (!r) return fail(r.error());
    return {};
  }
  Door& door_;
};

/// A program on the native API. Every function runs on the worker's thread.
class Program {
 public:
  virtual ~Program() = default;
  /// Once, when interfaces and addresses are up.
  virtual void start(Net& net) = 0;
  /// For each event, in order.
  virtual void event(Net& net, const Event& event) = 0;
  /// At the instant asked for with Net::wake_at.
  virtual void tick(Net&) {}
  /// Once, when the loop ends (a signal, or Net::stop).
  virtual void stop(Net&) {}
};

}  // namespace millrace
