// Requests as bytes. Pointers and tokens, which differ from run to run, are written as ordinals that the caller keeps.
#pragma once

#include <functional>
#include <span>
#include <unordered_map>
#include <vector>

#include "millrace/request.h"
#include "sim/codec.h"

namespace millrace::sim {

/// Translates what a run gave out to ordinals (recording) and back (replay).
struct RequestNames {
  std::function<uint64_t(const std::byte*)> buffer_to_ordinal;
  std::function<std::byte*(uint64_t)> ordinal_to_buffer;
  std::function<uint64_t(uint64_t)> token_to_ordinal;
  std::function<uint64_t(uint64_t)> ordinal_to_token;
  /// The payload of a borrowed message: what SendBatch sends in place is written as its place there.
  std::function<std::span<const std::byte>(uint64_t)> token_to_view;
};

/// What the pointers of a decoded request point to.
struct RequestRoom {
  std::vector<std::byte> bytes;
  std::vector<Message> messages;
  std::vector<IpAddr> sources;
  Endpoint local;
  Endpoint remote;
  DatagramError error;
  SocketStatus status;
  TcpInfo tcp_info;
};

/// Payloads of borrowed messages by token; both sides of a recording keep them alike.
using BorrowedViews = std::unordered_map<uint64_t, std::span<const std::byte>>;
void note_borrowed(BorrowedViews& views, const Request& request, const Result<Reply>& reply);

void encode_request(Writer& out, const Request& request, const RequestNames& names);
/// A Send's data points into what `in` reads, everything else into `room`.
[[nodiscard]] Request decode_request(Reader& in, const RequestNames& names, RequestRoom& room);

void encode_endpoint(Writer& out, const Endpoint& endpoint);
[[nodiscard]] Endpoint decode_endpoint(Reader& in);

/// Digest of an answer: everything but addresses and tokens of this process.
[[nodiscard]] uint64_t digest_reply(const Request& request, const Result<Reply>& reply);

}  // namespace millrace::sim
