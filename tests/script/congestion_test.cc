// Which congestion controller a connection has, and when it is asked.
#include "vocabulary.h"

namespace millrace::script {
namespace {

SCRIPTS(Congestion, plain_variants());

SocketOptions with(ControllerName name) {
  SocketOptions o;
  o.congestion_control = name;
  return o;
}

TEST_P(Congestion, ConnectionsHaveTheControllerOfTheSetting) {
  Script s(GetParam(), Options{.tcp = {}});
  s.server();
  EXPECT_STREQ(s.info().tcp.controller, "cubic");
}

TEST_P(Congestion, AListenersChoiceIsThatOfItsConnections) {
  Script s(GetParam(), Options{.tcp = {}});
  s.server(with("newreno"));
  EXPECT_STREQ(s.info().tcp.controller, "newreno");
}

TEST_P(Congestion, AClientMayChoose) {
  Script s(GetParam(), Options{.tcp = {}});
  s.client(with("newreno"));
  EXPECT_STREQ(s.info().tcp.controller, "newreno");
}

TEST_P(Congestion, ALivingConnectionMayChangeAndKeepsItsOwnOtherwise) {
  Script s(GetParam());
  const Handle c = s.server();
  EXPECT_STREQ(s.info().tcp.controller, "newreno");
  const uint32_t cwnd = s.info().tcp.cwnd;
  ASSERT_TRUE(s.ask(req::SetOptions{c, with("cubic")}));
  EXPECT_STREQ(s.info().tcp.controller, "cubic");
  EXPECT_EQ(s.info().tcp.cwnd, cwnd);
  ASSERT_TRUE(s.ask(req::SetOptions{c, {}}));
  EXPECT_STREQ(s.info().tcp.controller, "cubic");
}

TEST_P(Congestion, ANameThatDoesNotExistIsRefusedEverywhere) {
  Script s(GetParam());
  const Handle c = s.server();
  const ControllerName wrong("no such");
  EXPECT_EQ(s.ask(req::SetOptions{c, with(wrong)}).error(), Error::kNotFound);
  EXPECT_STREQ(s.info().tcp.controller, "newreno");
  req::Listen listen;
  listen.local = {s.local(), 99};
  listen.options = with(wrong);
  EXPECT_EQ(s.ask(listen).error(), Error::kNotFound);
  req::Connect connect;
  connect.remote = {s.local(), 99};
  connect.options = with("a name of more than 15 characters");
  EXPECT_EQ(s.ask(connect).error(), Error::kNotFound);
}

TEST_P(Congestion, TheWindowDoesNotGrowWhileTheProgramHoldsBack) {  // RFC 7661 3
  for (const char* name : tcp::cc::kNames) {
    if (name == std::string("bbr")) continue;  // grows it with the first deliveries, and does not use it
    Script s(GetParam());
    const Handle c = s.server(with(name));
    const uint32_t cwnd = s.info().tcp.cwnd;
    for (int i = 0; i < 50; ++i) {
      s.write(c, 100);
      (void)s.skip();
      s.in(ACK);
    }
    EXPECT_EQ(s.info().tcp.cwnd, cwnd) << name;
  }
}

}  // namespace
}  // namespace millrace::script
