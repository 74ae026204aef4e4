// Requests as bytes. Pointers and tokens, which differ from run to run, are written as ordinals that the caller keeps.
#pragma once

#include <functional>

#include "millrace/request.h"
#include "sim/codec.h"

namespace millrace::sim {

/// Translates what a run gave out to ordinals (recording) and back (replay).
struct RequestNames {
  std::function<uint64_t(const std::byte*)> buffer_to_ordinal;
  std::function<std::byte*(uint64_t)> ordinal_to_buffer;
  std::function<uint64_t(uint64_t)> token_to_ordinal;
  std::function<uint64_t(uint64_t)> ordinal_to_token;
};

void encode_request(Writer& out, const Request& request, const RequestNames& names);
/// `scratch` backs a Receive's buffer; a Send's data points into what `in` reads.
[[nodiscard]] Request decode_request(Reader& in, const RequestNames& names, std::vector<std::byte>& scratch);

void encode_endpoint(Writer& out, const Endpoint& endpoint);
[[nodiscard]] Endpoint decode_endpoint(Reader& in);

/// Digest of an answer: everything but addresses and tokens of this process.
[[nodiscard]] uint64_t digest_reply(const Request& request, const Result<Reply>& reply);

}  // namespace millrace::sim
