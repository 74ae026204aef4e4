// Sockets as a program sees them: handles, events, borrowed and lent buffers, errors.
#include "vocabulary.h"

#include "stack/impl.h"

namespace millrace::script {
namespace {

class Sockets : public testing::Test {
 protected:
  Script s{Variant{}};
};

TEST_F(Sockets, ClosedHandleIsRefusedEverywhere) {
  const Handle c = s.server();
  s.close(c);
  s.expect(FIN | ACK);
  std::byte room[8];
  EXPECT_EQ(s.ask(req::Send{c, room}).error(), Error::kBadHandle);
  EXPECT_EQ(s.ask(req::Receive{c, room}).error(), Error::kBadHandle);
  EXPECT_EQ(s.ask(req::Borrow{c}).error(), Error::kBadHandle);
  EXPECT_EQ(s.ask(req::Shutdown{c}).error(), Error::kBadHandle);
  EXPECT_EQ(s.ask(req::Close{c}).error(), Error::kBadHandle);
  EXPECT_EQ(s.ask(req::Abort{c}).error(), Error::kBadHandle);
  EXPECT_EQ(s.ask(req::SetUser{c, 1}).error(), Error::kBadHandle);
  EXPECT_EQ(s.ask(req::SetOptions{c, {}}).error(), Error::kBadHandle);
  EXPECT_EQ(s.ask(req::Accept{c, 1}).error(), Error::kBadHandle);
}

TEST_F(Sockets, HandleOfAReusedSlotIsNotMistakenForTheNewSocket) {
  const Handle old = s.server();
  s.abort(old);
  s.expect(RST | ACK);
  s.peer_port(40'001);
  s.in(SYN, seq(0), s.offer());
  s.expect(SYN | ACK);
  s.in(ACK);
  const Handle fresh = s.accept(s.listener());
  EXPECT_EQ(fresh.index, old.index);
  EXPECT_NE(fresh.gen, old.gen);
  EXPECT_EQ(s.try_write(old, 10).error(), Error::kBadHandle);
  EXPECT_EQ(s.state(), "ESTABLISHED");
}

TEST_F(Sockets, HandlesThatWereNeverGivenOutAreRefused) {
  for (const Handle h : {Handle{}, Handle{1, 1}, Handle{1'000'000, 1}, Handle{UINT32_MAX, UINT32_MAX}}) {
    EXPECT_EQ(s.ask(req::Close{h}).error(), Error::kBadHandle);
    EXPECT_EQ(s.ask(req::Receive{h, {}}).error(), Error::kBadHandle);
  }
}

TEST_F(Sockets, ListenerIsNoStreamAndAStreamNoListener) {
  const Handle c = s.server();
  std::byte room[8];
  EXPECT_EQ(s.ask(req::Receive{s.listener(), room}).error(), Error::kBadHandle);
  EXPECT_EQ(s.ask(req::Accept{c, 0}).error(), Error::kBadHandle);
}

TEST_F(Sockets, SecondListenerOnThePortIsRefused) {
  s.listen();
  EXPECT_EQ(s.ask(req::Listen{{IpAddr::any_v4(), 80}}).error(), Error::kAddressInUse);
  EXPECT_EQ(s.ask(req::Listen{{IpAddr::v4(203, 0, 113, 9), 81}}).error(), Error::kAddressNotHere);
  EXPECT_EQ(s.ask(req::Listen{{IpAddr::any_v4(), 0}}).error(), Error::kInvalid);
  s.close(s.listener());
  EXPECT_TRUE(s.ask(req::Listen{{IpAddr::any_v4(), 80}}));
}

TEST_F(Sockets, ListenersThatReuseThePortShareItsConnections) {
  SocketOptions o;
  o.reuse_port = true;
  Handle listeners[2];
  for (Handle& l : listeners) l = s.ask(req::Listen{{IpAddr::any_v4(), 80}, 8, 0, o})->handle;
  EXPECT_EQ(s.ask(req::Listen{{IpAddr::any_v4(), 80}}).error(), Error::kAddressInUse);
  int got[2] = {};
  uint16_t port = 40'000;
  const auto connect = [&] {
    s.peer_port(++port);
    s.in(SYN, seq(0), s.offer());
    s.expect(SYN | ACK);
    s.in(ACK);
    for (int i = 0; i < 2; ++i) got[i] += s.ask(req::Accept{listeners[i], 0}) ? 1 : 0;
  };
  for (int i = 0; i < 16; ++i) connect();
  EXPECT_EQ(got[0] + got[1], 16);
  EXPECT_GT(got[0], 0);
  EXPECT_GT(got[1], 0);
  EXPECT_TRUE(s.ask(req::Close{listeners[0]}));
  got[1] = 0;
  for (int i = 0; i < 4; ++i) connect();
  EXPECT_EQ(got[1], 4) << "what one leaves the other gets";
}

TEST_F(Sockets, LocalEndOfAConnectionIsInUse) {
  const auto in_use = [&](const Endpoint& local) { return s.worker().impl().tcp.has_local(local); };
  EXPECT_FALSE(in_use({IpAddr::any_v4(), 80}));
  const Handle c = s.server();
  Endpoint local;
  ASSERT_TRUE(s.ask(req::Names{c, &local, nullptr}));
  EXPECT_TRUE(in_use({IpAddr::any_v4(), 80}));
  EXPECT_TRUE(in_use(local));
  EXPECT_FALSE(in_use({IpAddr::any_v4(), 81}));
  EXPECT_FALSE(in_use({IpAddr::v4(203, 0, 113, 9), 80}));
}

TEST_F(Sockets, EventsOfOneTurnAreMergedIntoOne) {
  const Handle c = s.server();
  (void)s.events(c);
  s.hold_input();
  s.in(ACK, len(10));
  s.in(ACK, len(10));
  s.in(FIN | ACK, len(10));
  s.deliver();
  s.skip();
  size_t n = 0;
  for (const Event& e : s.all_events()) n += e.handle == c ? 1u : 0u;
  EXPECT_EQ(n, 1u);
  EXPECT_EQ(s.events(c), kReadable | uint32_t{kPeerClosed});
}

TEST_F(Sockets, EventsAreEdgesNotLevels) {
  const Handle c = s.server();
  (void)s.events(c);
  s.in(ACK, len(10));
  s.skip();
  EXPECT_EQ(s.events(c), static_cast<uint32_t>(kReadable));
  s.advance(1'000);
  EXPECT_EQ(s.events(c), 0u);  // unread data alone says nothing again
  s.in(ACK, len(10));
  s.skip();
  EXPECT_EQ(s.events(c), static_cast<uint32_t>(kReadable));
  (void)s.read(c);
}

TEST_F(Sockets, EventsCarryTheUserValueOfTheirTime) {
  const Handle c = s.server();
  (void)s.events(c);
  EXPECT_TRUE(s.ask(req::SetUser{c, 4711}));
  s.in(ACK, len(10));
  s.skip();
  ASSERT_FALSE(s.all_events().empty());
  EXPECT_EQ(s.all_events().back().user, 4'711u);
  EXPECT_EQ(s.all_events().back().handle, c);
  (void)s.read(c);
}

TEST_F(Sockets, LookTellsTheLevelBehindTheEdgesAndTakesNothing) {
  SocketStatus status;
  const Handle l = s.listen();
  ASSERT_TRUE(s.ask(req::Look{l, &status}));
  EXPECT_FALSE(status.readable);
  s.in(SYN, seq(0), s.offer());
  s.expect(SYN | ACK);
  s.in(ACK);
  ASSERT_TRUE(s.ask(req::Look{l, &status}));
  EXPECT_TRUE(status.readable);
  EXPECT_EQ(status.unread, 1u);
  const Handle c = s.accept(l);
  ASSERT_TRUE(s.ask(req::Look{c, &status}));
  EXPECT_TRUE(status.alive);
  EXPECT_FALSE(status.readable);
  EXPECT_GT(status.room, 0u);
  s.in(ACK, len(10));
  s.skip();
  for (int again = 0; again < 2; ++again) {
    ASSERT_TRUE(s.ask(req::Look{c, &status}));
    EXPECT_EQ(status.unread, 10u);
    EXPECT_TRUE(status.readable);
  }
  EXPECT_EQ(s.read(c), 10u);
  s.in(RST, seq(11));
  for (int again = 0; again < 2; ++again) {
    ASSERT_TRUE(s.ask(req::Look{c, &status}));
    EXPECT_EQ(status.error, Error::kConnectionReset);
    EXPECT_TRUE(status.readable);
    EXPECT_FALSE(status.alive);
  }
  s.close(c);
  EXPECT_EQ(s.ask(req::Look{c, &status}).error(), Error::kBadHandle);
}

TEST_F(Sockets, ListenerForOneFamilyLeavesTheOtherAlone) {
  SocketOptions o;
  o.v6_only = true;
  ASSERT_TRUE(s.ask(req::Listen{{IpAddr(), 80}, 8, 0, o}));
  s.in(SYN, seq(0), s.offer());
  s.expect(RST | ACK);
}

TEST_F(Sockets, SequenceNumbersOfEventsCount) {
  const Handle c = s.server();
  for (int i = 0; i < 3; ++i) s.in(ACK, len(10));
  s.skip();
  (void)s.read(c);
  for (size_t i = 1; i < s.all_events().size(); ++i) {
    EXPECT_EQ(s.all_events()[i].seq, s.all_events()[i - 1].seq + 1);
  }
}

TEST_F(Sockets, ConnectionWithDataSaysSoWhenItIsAccepted) {
  const Handle l = s.listen();
  s.in(SYN, seq(0), s.offer());
  s.expect(SYN | ACK);
  s.in(ACK);
  s.in(ACK, len(10));
  s.in(FIN | ACK, len(10));
  s.skip();
  EXPECT_EQ(s.events(l), static_cast<uint32_t>(kAcceptable));
  const Handle c = s.accept(l);
  EXPECT_EQ(s.events(c), kReadable | kWritable | uint32_t{kPeerClosed});
  EXPECT_EQ(s.read(c), 20u);
  EXPECT_EQ(s.ask(req::Accept{l, 0}).error(), Error::kWouldBlock);
}

TEST_F(Sockets, ConnectionResetBeforeItIsAcceptedReportsThat) {
  const Handle l = s.listen();
  s.in(SYN, seq(0), s.offer());
  s.expect(SYN | ACK);
  s.in(ACK);
  s.in(RST, seq(1));
  const Handle c = s.accept(l);
  EXPECT_NE(s.events(c) & kError, 0u);
  EXPECT_EQ(s.try_read(c).error(), Error::kConnectionReset);
}

TEST_F(Sockets, ErrorIsReportedOnceThenTheEnd) {
  const Handle c = s.server();
  s.in(RST, seq(1));
  EXPECT_EQ(s.try_read(c).error(), Error::kConnectionReset);
  EXPECT_EQ(s.read(c), 0u);
  EXPECT_EQ(s.try_write(c, 1).error(), Error::kBrokenPipe);
}

TEST_F(Sockets, BorrowedPieceOutlivesTheSocketAndTheConnection) {
  const Handle c = s.server();
  s.in(ACK, len(1'400));
  s.skip();
  const auto piece = s.ask(req::Borrow{c});
  ASSERT_TRUE(piece);
  s.in(RST, seq(1'401));
  s.close(c);
  for (uint32_t i = 0; i < 1'400; ++i) ASSERT_EQ(piece->view[i], pattern(i));
  EXPECT_TRUE(s.ask(req::Release{piece->token}));
  EXPECT_EQ(s.ask(req::Release{piece->token}).error(), Error::kBadHandle);
}

TEST_F(Sockets, BorrowedPieceNeverReleasedIsFreedWithTheWorker) {  // the script looks for leaks
  const Handle c = s.server();
  s.in(ACK, len(1'400));
  s.skip();
  EXPECT_TRUE(s.ask(req::Borrow{c}));
}

TEST_F(Sockets, SeveralPiecesMayBeHeldAndReleasedInAnyOrder) {
  const Handle c = s.server();
  for (int i = 0; i < 3; ++i) s.in(ACK, len(1'400));
  s.skip();
  std::vector<Reply> pieces;
  for (;;) {
    auto piece = s.ask(req::Borrow{c});
    if (!piece) {
      EXPECT_EQ(piece.error(), Error::kWouldBlock);
      break;
    }
    pieces.push_back(*piece);
  }
  size_t at = 0;
  for (const Reply& p : pieces) {
    for (const std::byte b : p.view) ASSERT_EQ(b, pattern(static_cast<uint32_t>(at++)));
  }
  EXPECT_EQ(at, 4'200u);
  for (auto it = pieces.rbegin(); it != pieces.rend(); ++it) EXPECT_TRUE(s.ask(req::Release{it->token}));
  EXPECT_EQ(s.worker().check(), "");
}

TEST_F(Sockets, BorrowAtTheEndSaysEnd) {
  const Handle c = s.server();
  EXPECT_EQ(s.ask(req::Borrow{c}).error(), Error::kWouldBlock);
  s.in(FIN | ACK);
  s.skip();
  const auto end = s.ask(req::Borrow{c});
  ASSERT_TRUE(end);
  EXPECT_TRUE(end->view.empty());
  EXPECT_EQ(end->token, 0u);
}

TEST_F(Sockets, PeekLeavesTheData) {
  const Handle c = s.server();
  s.in(ACK, len(100));
  s.skip();
  std::byte room[50];
  EXPECT_EQ(s.ask(req::Receive{c, room, true})->bytes, 50u);
  EXPECT_EQ(room[7], pattern(7));
  EXPECT_EQ(s.read(c), 100u);
}

TEST_F(Sockets, SmallUnreadDataDoesNotPinADeviceBuffer) {
  const Handle c = s.server();
  const size_t before = s.worker().impl().packets.frames_available();
  s.in(ACK, len(10));
  s.skip();
  EXPECT_EQ(s.worker().impl().packets.frames_available(), before);
  EXPECT_EQ(s.worker().blocks_in_use(), 1u);
  s.in(ACK, len(10));
  s.skip();
  EXPECT_EQ(s.read(c), 20u);
  EXPECT_EQ(s.worker().blocks_in_use(), 0u);
}

TEST_F(Sockets, ManySmallSegmentsShareBuffers) {
  const Handle c = s.server();
  const size_t before = s.worker().impl().packets.frames_available();
  for (int i = 0; i < 200; ++i) {
    s.in(ACK, len(10));
    s.skip();
  }
  EXPECT_GE(s.worker().impl().packets.frames_available() + 4, before);
  EXPECT_EQ(s.read(c), 2'000u);
}

TEST_F(Sockets, LentBufferMayBeDroppedOrForgotten) {
  const auto a = s.ask(req::LendBuffer{100});
  const auto b = s.ask(req::LendBuffer{65'408});
  ASSERT_TRUE(a && b);
  EXPECT_EQ(s.ask(req::LendBuffer{65'409}).error(), Error::kInvalid);
  EXPECT_EQ(s.ask(req::LendBuffer{0}).error(), Error::kInvalid);
  EXPECT_EQ(s.worker().blocks_in_use(), 2u);
  EXPECT_TRUE(s.ask(req::DropLent{a->buffer}));
  EXPECT_EQ(s.ask(req::DropLent{a->buffer}).error(), Error::kInvalid);
  EXPECT_EQ(s.worker().blocks_in_use(), 1u);
}

TEST_F(Sockets, LentBufferStaysTheCallersOnAnError) {
  const Handle c = s.server();
  const auto lent = s.ask(req::LendBuffer{100});
  ASSERT_TRUE(lent);
  s.in(RST, seq(1));
  EXPECT_EQ(s.ask(req::SendLent{c, lent->buffer, 100, 5}).error(), Error::kConnectionReset);
  EXPECT_EQ(s.ask(req::SendLent{c, lent->buffer, 100, 5}).error(), Error::kBrokenPipe);
  EXPECT_TRUE(s.ask(req::DropLent{lent->buffer}));
  EXPECT_TRUE(s.released().empty());
}

TEST_F(Sockets, LentBufferComesBackWhenTheConnectionIsReset) {
  const Handle c = s.server();
  const auto lent = s.ask(req::LendBuffer{100});
  ASSERT_TRUE(lent);
  for (uint32_t i = 0; i < 100; ++i) lent->buffer[i] = pattern(i);
  EXPECT_TRUE(s.ask(req::SendLent{c, lent->buffer, 100, 5}));
  s.expect(ACK, len(100));
  s.in(RST, seq(1));
  EXPECT_EQ(s.released(), std::vector<uint64_t>{5});
}

TEST_F(Sockets, ForeignMemoryIsNoLentBuffer) {
  const Handle c = s.server();
  std::vector<std::byte> mine(4'096);
  EXPECT_EQ(s.ask(req::SendLent{c, mine.data() + 1'024, 10, 0}).error(), Error::kInvalid);
  EXPECT_EQ(s.ask(req::DropLent{mine.data() + 1'024}).error(), Error::kInvalid);
}

TEST_F(Sockets, WriteBeforeTheConnectionIsOpenBlocks) {
  const Handle c = s.connect();
  s.expect(SYN);
  EXPECT_EQ(s.try_write(c, 10).error(), Error::kWouldBlock);
  EXPECT_EQ(s.try_read(c).error(), Error::kNotConnected);
  EXPECT_EQ(s.ask(req::Shutdown{c}).error(), Error::kNotConnected);
  s.in(SYN | ACK, seq(0), s.offer());
  s.expect(ACK);
  EXPECT_NE(s.events(c) & kWritable, 0u);
  EXPECT_EQ(*s.try_write(c, 10), 10u);
  s.expect(ACK, len(10));
}

}  // namespace
}  // namespace millrace::script
