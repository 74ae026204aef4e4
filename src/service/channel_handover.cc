// A program's end of handing sockets on.
#include <algorithm>
#include <cstring>

#include "posix/kernel.h"
#include "service/channel.h"
#include "service/codec.h"
#include "service/shared_socket.h"

namespace millrace::service {

Result<void> Channel::deposit(const posix::Token& token, const Parcel& parcel, Way way) {
  Call call;
  call.token = {token.high, token.low};
  call.stream = words_of(parcel.stream);
  call.datagram = words_of(parcel.datagram);
  call.flags = way == Way::kMessage ? kFlagMayWait : 0;
  call.bytes = static_cast<uint32_t>(std::min<size_t>(parcel.rest.size(), kBulkBytes));
  if (child_ && !adopt()) return fail(Error::kNetDown);  // the bulk is to be the child's
  if (const auto ready = ready_for(Op::kDeposit, parcel.handle); !ready) return fail(ready.error());
  if (call.bytes != 0) std::memcpy(end_.segment.bulk().data(), parcel.rest.data(), call.bytes);
  const auto answer = ask(Op::kDeposit, parcel.handle, &call, parcel.claim);
  if (!answer) return fail(answer.error());
  return {};
}

void Channel::withdraw(const posix::Token& token) {
  Call call;
  call.token = {token.high, token.low};
  (void)ask(Op::kWithdraw, {}, &call);
}

Result<posix::Transport::Parcel> Channel::collect(const posix::Token& token, uint64_t user) {
  Call call;
  call.token = {token.high, token.low};
  call.user = user;
  const auto asked = ask(Op::kCollect, {}, &call);
  if (!asked) return fail(asked.error());
  const Answer& answer = **asked;
  Parcel parcel;
  parcel.handle = answer.handle;
  parcel.claim = answer.number;
  parcel.stream = options_of(answer.stream);
  parcel.datagram = options_of(answer.datagram);
  const auto rest = end_.segment.bulk().first(std::min(answer.length, kBulkBytes));
  parcel.rest.assign(rest.begin(), rest.end());
  if (!parcel.handle.valid()) return parcel;
  Known& known = learn(answer, user);
  const auto kind = static_cast<SocketKind>(answer.kind);
  known.listener = kind == SocketKind::kListener;
  known.stream = kind == SocketKind::kStream;
  const SocketStatus& status = answer.status;
  known.calls_out = !status.alive || status.connecting;
  known.calls_in = known.calls_out || status.ended;
  return parcel;
}

bool Channel::reachable() {
  const auto open = [](const runtime::Descriptor& d) { return d && posix::kernel::fcntl(d.get(), F_GETFD) >= 0; };
  return child_ ? open(unborn_) : open(end_.socket) && open(end_.service_bell) && open(end_.program_bell);
}

}  // namespace millrace::service
