// IGMP and MLD hosts on a virtual clock: RFC 3376 5 and 7, RFC 3810 6 and 8.
#include "mcast/host.h"

#include <gtest/gtest.h>

#include <algorithm>

namespace millrace::mcast {
namespace {

using Kind = Report::Kind;
IpAddr addr(const char* text) { return *IpAddr::parse(text); }
const IpAddr kGroup = addr("239.1.2.3");
const IpAddr kOther = addr("239.1.2.4");
const IpAddr kS1 = addr("192.0.2.1");
const IpAddr kS2 = addr("192.0.2.2");
const IpAddr kS3 = addr("192.0.2.3");
const Filter kAny{true, {}};
const Filter kNone{};

class GroupHostTest : public ::testing::Test {
 protected:
  std::vector<Report> advance(Duration d, GroupHost* host = nullptr) {
    GroupHost& h = host == nullptr ? host_ : *host;
    std::vector<Report> out;
    const Instant end = now_ + d;
    while (h.next_deadline() <= end) {
      now_ = std::max(now_, h.next_deadline());
      h.tick(now_, out);
    }
    now_ = end;
    return out;
  }
  void set(const Filter& f, const IpAddr& group = kGroup) { ASSERT_TRUE(host_.set_filter(group, f, now_)); }
  void settle(const Filter& f, const IpAddr& group = kGroup) {
    set(f, group);
    (void)advance(seconds(60));
  }
  static std::vector<Record> records(const std::vector<Report>& reports) {
    std::vector<Record> out;
    for (const Report& r : reports) {
      EXPECT_EQ(r.kind, Kind::kRecords);
      out.insert(out.end(), r.records.begin(), r.records.end());
    }
    return out;
  }
  static Query general(Version v = Version::k3) {
    Query q;
    q.version = v;
    q.group = IpAddr::any_v4();
    q.max_response = seconds(10);
    return q;
  }
  static Query about(std::vector<IpAddr> sources = {}, Version v = Version::k3) {
    Query q = general(v);
    q.group = kGroup;
    q.max_response = seconds(1);
    q.sources = std::move(sources);
    return q;
  }
  void hear(const Query& q) { host_.hear_query(q, now_); }

  GroupHost host_{true, 1};
  Instant now_{seconds(10).ns()};
};

// RFC 3376 5.1: at once, and again for robustness.
TEST_F(GroupHostTest, JoinAndLeaveAreEachReportedTwice) {
  set(kAny);
  EXPECT_EQ(records(advance({})), (std::vector<Record>{{RecordType::kToExclude, kGroup, {}}}));
  EXPECT_EQ(records(advance(seconds(1))), (std::vector<Record>{{RecordType::kToExclude, kGroup, {}}}));
  EXPECT_TRUE(advance(seconds(100)).empty());
  set(kNone);
  const auto left = records(advance(seconds(2)));
  EXPECT_EQ(left, std::vector<Record>(2, {RecordType::kToInclude, kGroup, {}}));
  EXPECT_EQ(host_.next_deadline(), kNever);
}

TEST_F(GroupHostTest, SourceChangesAreReportedAsDifferences) {
  settle({false, {kS1, kS2}});
  set({false, {kS2, kS3}});
  EXPECT_EQ(records(advance({})), (std::vector<Record>{{RecordType::kAllow, kGroup, {kS3}},
                                                       {RecordType::kBlock, kGroup, {kS1}}}));
  (void)advance(seconds(5));
  set({true, {kS1}});
  EXPECT_EQ(records(advance({})), (std::vector<Record>{{RecordType::kToExclude, kGroup, {kS1}}}));
  (void)advance(seconds(5));
  set({true, {kS2}});
  EXPECT_EQ(records(advance({})), (std::vector<Record>{{RecordType::kAllow, kGroup, {kS1}},
                                                       {RecordType::kBlock, kGroup, {kS2}}}));
}

TEST_F(GroupHostTest, ChangesOnTopOfEachOtherAreReportedTogether) {
  settle({false, {kS1}});
  set({false, {kS1, kS2}});
  (void)advance({});
  set({false, {kS1, kS2, kS3}});
  EXPECT_EQ(records(advance({})), (std::vector<Record>{{RecordType::kAllow, kGroup, {kS2, kS3}}}));
}

// RFC 3376 5.2
TEST_F(GroupHostTest, GeneralQueryIsAnsweredOnceWithEverything) {
  settle(kAny);
  settle({false, {kS1}}, kOther);
  hear(general());
  hear(general());
  const auto answer = records(advance(seconds(10)));
  EXPECT_EQ(answer, (std::vector<Record>{{RecordType::kIsExclude, kGroup, {}},
                                         {RecordType::kIsInclude, kOther, {kS1}}}));
}

TEST_F(GroupHostTest, GroupQueryIsAnsweredForThatGroup) {
  settle({true, {kS1}});
  settle(kAny, kOther);
  hear(about());
  EXPECT_EQ(records(advance(seconds(1))), (std::vector<Record>{{RecordType::kIsExclude, kGroup, {kS1}}}));
  Query q = about();
  q.group = addr("239.9.9.9");
  hear(q);
  EXPECT_TRUE(advance(seconds(9)).empty()) << "no member";
}

TEST_F(GroupHostTest, SourceQueryIsAnsweredForThoseSources) {
  settle({false, {kS1, kS2}});
  hear(about({kS2, kS3}));
  EXPECT_EQ(records(advance(seconds(1))), (std::vector<Record>{{RecordType::kIsInclude, kGroup, {kS2}}}));
  hear(about({kS3}));
  EXPECT_TRUE(advance(seconds(9)).empty()) << "of no interest";
  settle({true, {kS1}});
  hear(about({kS1}));
  hear(about({kS3}));
  EXPECT_EQ(records(advance(seconds(1))), (std::vector<Record>{{RecordType::kIsInclude, kGroup, {kS3}}}))
      << "pending queries about sources are joined";
  hear(about({kS3}));
  hear(about());
  EXPECT_EQ(records(advance(seconds(1))), (std::vector<Record>{{RecordType::kIsExclude, kGroup, {kS1}}}));
}

TEST_F(GroupHostTest, QueryWithMoreSourcesThanWeKeepIsAboutTheWholeGroup) {
  settle({false, {kS1}});
  for (uint32_t i = 0; i < 2; ++i) {
    std::vector<IpAddr> many;
    for (uint32_t k = 0; k < kMaxSources; ++k) many.push_back(IpAddr::v4(0x0a000000 + i * 1'000 + k));
    hear(about(many));
  }
  EXPECT_EQ(records(advance(seconds(1))), (std::vector<Record>{{RecordType::kIsInclude, kGroup, {kS1}}}));
}

// RFC 3376 7.2.1, RFC 2236 3, 6
TEST_F(GroupHostTest, OlderQuerierIsAnsweredInItsVersion) {
  settle(kAny);
  hear(general(Version::k2));
  auto out = advance(seconds(10));
  ASSERT_EQ(out.size(), 1U);
  EXPECT_EQ(out[0].kind, Kind::kReport2);
  EXPECT_EQ(out[0].group, kGroup);
  set(kNone);
  out = advance(seconds(20));
  ASSERT_EQ(out.size(), 1U);
  EXPECT_EQ(out[0].kind, Kind::kLeave);
  hear(general(Version::k1));
  set(kAny);
  out = advance(seconds(20));
  ASSERT_EQ(out.size(), 2U);
  EXPECT_EQ(out[0].kind, Kind::kReport1);
  set(kNone);
  EXPECT_TRUE(advance(seconds(20)).empty()) << "version 1 has no leave";
  (void)advance(seconds(300));
  set(kAny);
  EXPECT_EQ(advance({}).at(0).kind, Kind::kRecords) << "the old querier has been silent for long";
}

// RFC 2236 3
TEST_F(GroupHostTest, ReportOfAnotherHostIsEnoughInOlderVersions) {
  settle(kAny);
  hear(general(Version::k2));
  host_.hear_report(kGroup);
  EXPECT_TRUE(advance(seconds(20)).empty());
}

TEST_F(GroupHostTest, AnswersComeWithinTheTimeTheQuerierGives) {
  settle(kAny);
  for (int i = 0; i < 100; ++i) {
    hear(about());
    EXPECT_LE(host_.next_deadline(), now_ + seconds(1));
    EXPECT_EQ(advance(seconds(1)).size(), 1U);
  }
}

TEST_F(GroupHostTest, GroupsOfEverybodyAreNotReported) {
  settle(kAny, addr("224.0.0.1"));
  hear(general());
  EXPECT_TRUE(advance(seconds(20)).empty());
  EXPECT_TRUE(host_.is_member(addr("224.0.0.1")));
  GroupHost six(false, 1);
  for (const char* g : {"ff02::1", "ff01::5"}) ASSERT_TRUE(six.set_filter(addr(g), kAny, now_));
  EXPECT_TRUE(advance(seconds(20), &six).empty());
  ASSERT_TRUE(six.set_filter(addr("ff02::1:ff00:1"), kAny, now_));
  EXPECT_EQ(advance(seconds(20), &six).size(), 2U);
}

TEST_F(GroupHostTest, LimitsRefuseAndGoOn) {
  for (uint32_t i = 0; i < kMaxGroups; ++i) set(kAny, IpAddr::v4(0xef000000 + i));
  EXPECT_EQ(host_.set_filter(kGroup, kAny, now_).error(), Error::kTooMany);
  Filter big;
  for (uint32_t i = 0; i <= kMaxSources; ++i) big.sources.push_back(IpAddr::v4(0x0a000000 + i));
  EXPECT_EQ(host_.set_filter(IpAddr::v4(0xef000000), big, now_).error(), Error::kTooMany);
  EXPECT_EQ(host_.set_filter(kS1, kAny, now_).error(), Error::kInvalid);
  EXPECT_EQ(host_.set_filter(addr("ff02::5"), kAny, now_).error(), Error::kInvalid);
  (void)advance(seconds(5));
  settle(kNone, IpAddr::v4(0xef000000));
  set(kAny);
}

TEST_F(GroupHostTest, LinkThatComesBackHearsEverythingAnew) {
  settle(kAny);
  host_.restart(now_);
  EXPECT_EQ(records(advance(seconds(2))), std::vector<Record>(2, {RecordType::kToExclude, kGroup, {}}));
}

// RFC 3376 3.2
TEST(MergeFilters, GivesEverySocketWhatItWants) {
  EXPECT_EQ(merge({}), Filter{});
  const std::vector<Filter> include{{false, {kS2}}, {false, {kS1, kS2}}};
  EXPECT_EQ(merge(include), (Filter{false, {kS1, kS2}}));
  const std::vector<Filter> exclude{{true, {kS1, kS2}}, {true, {kS2, kS3}}};
  EXPECT_EQ(merge(exclude), (Filter{true, {kS2}}));
  const std::vector<Filter> mixed{{true, {kS1, kS2}}, {false, {kS2}}};
  EXPECT_EQ(merge(mixed), (Filter{true, {kS1}}));
  const std::vector<Filter> any{{true, {kS1}}, {true, {}}};
  EXPECT_EQ(merge(any), (Filter{true, {}}));
}

}  // namespace
}  // namespace millrace::mcast
