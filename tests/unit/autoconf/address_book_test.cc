// States and lifetimes of addresses.
#include "autoconf/address_book.h"

#include <gtest/gtest.h>

#include <string>

namespace millrace::autoconf {
namespace {

constexpr auto kIf = static_cast<IfIndex>(1);

class AddressBookTest : public ::testing::Test {
 protected:
  void add(const char* text, Testing test, Lifetimes lifetimes = {}) {
    ASSERT_TRUE(book_.add({kIf, *Prefix::parse(text), Origin::kRouter, AddressState::kPreferred, true, lifetimes}, test,
                          now_));
  }
  std::string state(const char* addr) {
    const BookEntry* e = book_.find(*IpAddr::parse(addr));
    return e == nullptr ? "none" : name_of(e->state);
  }
  void advance(Duration d) {
    const Instant end = now_ + d;
    while (book_.next_deadline() <= end) {
      now_ = std::max(now_, book_.next_deadline());
      book_.advance(now_, [&](const BookEntry&, const BookStep& step) {
        probes_ += step.send == GuardSend::kProbe ? 1 : 0;
        announcements_ += step.send == GuardSend::kAnnounce ? 1 : 0;
        expired_ += step.expired ? 1 : 0;
      });
    }
    now_ = end;
  }

  AddressBook book_{1};
  Instant now_{seconds(100).ns()};
  int probes_ = 0;
  int announcements_ = 0;
  int expired_ = 0;
};

TEST_F(AddressBookTest, TestedFirstIsTentativeThenPreferred) {
  add("2001:db8::1/64", Testing::kFirst);
  EXPECT_EQ(state("2001:db8::1"), "tentative");
  EXPECT_FALSE(book_.find(*IpAddr::parse("2001:db8::1"))->usable());
  advance(seconds(3));
  EXPECT_EQ(state("2001:db8::1"), "preferred");
  EXPECT_EQ(probes_, 1);
  EXPECT_EQ(announcements_, 1);
}

TEST_F(AddressBookTest, OptimisticIsUsableAtOnce) {
  add("192.0.2.1/24", Testing::kOptimistic);
  EXPECT_EQ(state("192.0.2.1"), "optimistic");
  EXPECT_TRUE(book_.find(*IpAddr::parse("192.0.2.1"))->usable());
  advance(seconds(20));
  EXPECT_EQ(state("192.0.2.1"), "preferred");
  EXPECT_EQ(probes_, 3);
  EXPECT_EQ(announcements_, 2);
}

TEST_F(AddressBookTest, ConflictWhileTestedMakesItDuplicatedForGood) {
  add("2001:db8::1/64", Testing::kFirst);
  const BookStep step = book_.conflict(*IpAddr::parse("2001:db8::1"), Defence::kGiveUp, now_);
  EXPECT_TRUE(step.lost);
  EXPECT_FALSE(step.was_usable);
  advance(seconds(100));
  EXPECT_EQ(state("2001:db8::1"), "duplicated");
  EXPECT_EQ(announcements_, 0);
}

// RFC 4862 5.5.4
TEST_F(AddressBookTest, PreferredThenDeprecatedThenGone) {
  add("2001:db8::1/64", Testing::kNone, {now_ + seconds(10), now_ + seconds(30)});
  advance(seconds(10) - nanoseconds(1));
  EXPECT_EQ(state("2001:db8::1"), "preferred");
  advance(nanoseconds(1));
  EXPECT_EQ(state("2001:db8::1"), "deprecated");
  advance(seconds(20));
  EXPECT_EQ(state("2001:db8::1"), "none");
  EXPECT_EQ(expired_, 1);
}

TEST_F(AddressBookTest, NewLifetimesReviveAndDeprecateAtOnce) {
  const IpAddr addr = *IpAddr::parse("2001:db8::1");
  add("2001:db8::1/64", Testing::kNone, {now_, now_ + seconds(30)});
  EXPECT_EQ(state("2001:db8::1"), "deprecated");
  EXPECT_TRUE(book_.set_lifetimes(addr, {now_ + seconds(60), now_ + seconds(90)}, now_).changed);
  EXPECT_EQ(state("2001:db8::1"), "preferred");
  EXPECT_TRUE(book_.set_lifetimes(addr, {now_, now_ + seconds(90)}, now_).changed);
  EXPECT_EQ(state("2001:db8::1"), "deprecated");
  advance(seconds(89));
  EXPECT_EQ(state("2001:db8::1"), "deprecated");
  advance(seconds(1));
  EXPECT_EQ(state("2001:db8::1"), "none");
}

TEST_F(AddressBookTest, LifetimeThatEndsDuringTheTestRemovesTheAddress) {
  add("2001:db8::1/64", Testing::kFirst, {kNever, now_ + milliseconds(1)});
  advance(seconds(1));
  EXPECT_EQ(state("2001:db8::1"), "none");
}

TEST_F(AddressBookTest, FullBookRefusesAndGoesOn) {
  for (uint32_t i = 0; i < kMaxAddresses; ++i) {
    ASSERT_TRUE(book_.add({kIf, {IpAddr::v4(0x0a000001 + i), 8}}, Testing::kNone, now_));
  }
  const BookEntry more{kIf, {IpAddr::v4(0x0b000001), 8}};
  EXPECT_EQ(book_.add(more, Testing::kNone, now_).error(), Error::kTooMany);
  EXPECT_EQ(book_.add({kIf, {IpAddr::v4(0x0a000001), 8}}, Testing::kNone, now_).error(), Error::kAlreadyExists);
  EXPECT_TRUE(book_.remove(kIf, IpAddr::v4(0x0a000001)));
  EXPECT_TRUE(book_.add(more, Testing::kNone, now_));
}

}  // namespace
}  // namespace millrace::autoconf
