// The DNS answerer: RFC 1034 4.3.2 case by case, on a zone read from text.
#include "dns/answer.h"

#include <gtest/gtest.h>

#include <cstdio>
#include <cstdlib>
#include <string>

namespace millrace::dns {
namespace {

constexpr const char* kZone = R"($ORIGIN example.org.
$TTL 3600
@       IN SOA ns1 admin 1 7200 900 1209600 300
@       IN NS  ns1
@       IN MX  10 mail
@       IN TXT "hello" "world"
ns1     IN A   192.0.2.1
ns1     IN AAAA 2001:db8::1
mail    IN A   192.0.2.2
www     IN CNAME web
web     IN A   192.0.2.3
web     IN A   192.0.2.4
out     IN CNAME www.example.com.
*.wild  IN A   192.0.2.9
a.deep  IN A   192.0.2.10
sub     IN NS  ns.sub
ns.sub  IN A   192.0.2.11
big     IN TXT "0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789"
)";

class AnswerTest : public testing::Test {
 protected:
  AnswerTest() {
    std::string name = testing::TempDir() + "millrace-dns-XXXXXX";
    const int fd = mkstemp(name.data());
    FILE* f = fdopen(fd, "w");
    std::fputs(kZone, f);
    for (int i = 0; i < 100; ++i) std::fprintf(f, "many IN A 192.0.3.%d\n", i);
    std::fclose(f);
    EXPECT_EQ(zone_.load(name, ""), "");
    std::remove(name.c_str());
  }
  static std::vector<std::byte> query(const char* name, ldns_rr_type type, uint16_t edns = 0) {
    ldns_pkt* p = ldns_pkt_query_new(ldns_dname_new_frm_str(name), type, LDNS_RR_CLASS_IN, LDNS_RD);
    ldns_pkt_set_id(p, 4711);
    if (edns != 0) ldns_pkt_set_edns_udp_size(p, edns);
    uint8_t* wire = nullptr;
    size_t size = 0;
    EXPECT_EQ(ldns_pkt2wire(&wire, p, &size), LDNS_STATUS_OK);
    std::vector<std::byte> out(reinterpret_cast<std::byte*>(wire), reinterpret_cast<std::byte*>(wire) + size);
    free(wire);
    ldns_pkt_free(p);
    return out;
  }
  Owned<ldns_pkt> ask(const char* name, ldns_rr_type type, uint16_t edns = 0, bool stream = false) {
    EXPECT_TRUE(answer(zone_, query(name, type, edns), stream, out_));
    ldns_pkt* p = nullptr;
    EXPECT_EQ(ldns_wire2pkt(&p, reinterpret_cast<const uint8_t*>(out_.data()), out_.size()), LDNS_STATUS_OK);
    EXPECT_EQ(ldns_pkt_id(p), 4711);
    EXPECT_TRUE(ldns_pkt_qr(p));
    return Owned<ldns_pkt>(p);
  }
  static size_t answers(const Owned<ldns_pkt>& p) { return ldns_pkt_ancount(p.get()); }

  Zone zone_;
  std::vector<std::byte> out_;
};

TEST_F(AnswerTest, GivesRecordsOfEveryType) {
  for (const auto& [name, type, count] :
       {std::tuple{"web.example.org", LDNS_RR_TYPE_A, 2u}, std::tuple{"WEB.Example.ORG", LDNS_RR_TYPE_A, 2u},
        std::tuple{"ns1.example.org", LDNS_RR_TYPE_AAAA, 1u}, std::tuple{"example.org", LDNS_RR_TYPE_NS, 1u},
        std::tuple{"example.org", LDNS_RR_TYPE_SOA, 1u}, std::tuple{"example.org", LDNS_RR_TYPE_TXT, 1u},
        std::tuple{"example.org", LDNS_RR_TYPE_MX, 1u}}) {
    const auto p = ask(name, type);
    EXPECT_EQ(answers(p), count) << name;
    EXPECT_TRUE(ldns_pkt_aa(p.get())) << name;
    EXPECT_EQ(ldns_pkt_get_rcode(p.get()), LDNS_RCODE_NOERROR) << name;
  }
  EXPECT_EQ(ldns_pkt_arcount(ask("example.org", LDNS_RR_TYPE_MX).get()), 1u) << "the address of the exchanger";
}

TEST_F(AnswerTest, FollowsAliasesWithinTheZone) {
  EXPECT_EQ(answers(ask("www.example.org", LDNS_RR_TYPE_A)), 3u);
  EXPECT_EQ(answers(ask("www.example.org", LDNS_RR_TYPE_CNAME)), 1u);
  EXPECT_EQ(answers(ask("out.example.org", LDNS_RR_TYPE_A)), 1u);
}

TEST_F(AnswerTest, SaysNoWithTheSoa) {
  auto p = ask("none.example.org", LDNS_RR_TYPE_A);
  EXPECT_EQ(ldns_pkt_get_rcode(p.get()), LDNS_RCODE_NXDOMAIN);
  ASSERT_EQ(ldns_pkt_nscount(p.get()), 1u);
  EXPECT_EQ(ldns_rr_ttl(ldns_rr_list_rr(ldns_pkt_authority(p.get()), 0)), 300u) << "RFC 2308 3";
  for (const char* name : {"web.example.org", "deep.example.org"}) {
    p = ask(name, LDNS_RR_TYPE_MX);
    EXPECT_EQ(ldns_pkt_get_rcode(p.get()), LDNS_RCODE_NOERROR) << name;
    EXPECT_EQ(answers(p), 0u);
    EXPECT_EQ(ldns_pkt_nscount(p.get()), 1u);
  }
}

TEST_F(AnswerTest, WildcardsTakeTheAskedName) {
  const auto p = ask("any.thing.wild.example.org", LDNS_RR_TYPE_A);
  ASSERT_EQ(answers(p), 1u);
  char* owner = ldns_rdf2str(ldns_rr_owner(ldns_rr_list_rr(ldns_pkt_answer(p.get()), 0)));
  EXPECT_STREQ(owner, "any.thing.wild.example.org.");
  free(owner);
}

TEST_F(AnswerTest, RefersBelowADelegation) {
  const auto p = ask("host.sub.example.org", LDNS_RR_TYPE_A);
  EXPECT_FALSE(ldns_pkt_aa(p.get()));
  EXPECT_EQ(answers(p), 0u);
  EXPECT_EQ(ldns_pkt_nscount(p.get()), 1u);
  EXPECT_EQ(ldns_pkt_arcount(p.get()), 1u);
}

TEST_F(AnswerTest, RefusesOtherZonesAndUnknownOperations) {
  EXPECT_EQ(ldns_pkt_get_rcode(ask("example.com", LDNS_RR_TYPE_A).get()), LDNS_RCODE_REFUSED);
  EXPECT_EQ(ldns_pkt_get_rcode(ask("notexample.org", LDNS_RR_TYPE_A).get()), LDNS_RCODE_REFUSED);
  auto q = query("example.org", LDNS_RR_TYPE_A);
  q[2] = std::byte{0x28};  // an update
  ASSERT_TRUE(answer(zone_, q, false, out_));
  EXPECT_EQ(std::to_integer<int>(out_[3]) & 15, LDNS_RCODE_NOTIMPL);
}

// RFC 1035 4.2.1, RFC 6891 6.2.3
TEST_F(AnswerTest, CutsWhatDoesNotFitAndSaysSo) {
  auto p = ask("many.example.org", LDNS_RR_TYPE_A);
  EXPECT_TRUE(ldns_pkt_tc(p.get()));
  EXPECT_EQ(answers(p), 0u);
  EXPECT_LE(out_.size(), 512u);
  p = ask("many.example.org", LDNS_RR_TYPE_A, 4'096);
  EXPECT_TRUE(ldns_pkt_tc(p.get())) << "1,600 bytes of answers are more than we send in one datagram";
  p = ask("many.example.org", LDNS_RR_TYPE_A, 0, true);
  EXPECT_FALSE(ldns_pkt_tc(p.get()));
  EXPECT_EQ(answers(p), 100u);
}

TEST_F(AnswerTest, EdnsIsAnsweredWithEdns) {
  EXPECT_TRUE(ldns_pkt_edns(ask("web.example.org", LDNS_RR_TYPE_A, 1'232).get()));
  EXPECT_FALSE(ldns_pkt_edns(ask("web.example.org", LDNS_RR_TYPE_A).get()));
}

TEST_F(AnswerTest, MalformedQueriesGetFormerrAndAnswersNothing) {
  auto q = query("example.org", LDNS_RR_TYPE_A);
  q[2] |= std::byte{0x80};
  EXPECT_FALSE(answer(zone_, q, false, out_));
  q = query("example.org", LDNS_RR_TYPE_A);
  for (size_t n = 0; n < q.size(); ++n) {
    const bool some = answer(zone_, std::span(q).first(n), false, out_);
    EXPECT_EQ(some, n >= 12) << n;
    if (some) {
      EXPECT_EQ(std::to_integer<int>(out_[3]) & 15, LDNS_RCODE_FORMERR) << n;
    }
  }
}

}  // namespace
}  // namespace millrace::dns
