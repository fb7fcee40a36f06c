// SPDX-License-Identifier: Apache-2.0
#include "compare/xdp_actions.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <stdexcept>
#include <string>

#include "compare/scenario.h"
#include "sluice/flow_text.h"

namespace sluice::compare {
namespace {

Actions Parsed(const std::string& text) {
  auto actions = ParseActions(text);
  if (!actions) throw std::invalid_argument(text + ": " + actions.error().detail);
  return *std::move(actions);
}

reference::Bytes Udp4(uint8_t ttl) {
  reference::PacketSpec spec;
  reference::Ipv4Spec ip;
  ip.ttl = ttl;
  spec.l3 = ip;
  spec.l4 = reference::UdpSpec{1, 2};
  return reference::Build(spec);
}

TEST(XdpCanDo, EditsAndThenOutputs) {
  for (const std::string text :
       {"drop", "1", "1,2,1", "flood", "upcall(max_len=7)", "push_vlan(vid=1),set(tcp(src=1)),dec_ttl,pop_vlan,1,2",
        "set(arp(op=1))", "dec_ttl(le_1(1)),2", "dec_ttl(le_1(flood)),2", "dec_ttl(le_1(upcall)),2", "dec_ttl(le_1(1))",
        "dec_ttl(le_1(1)),dec_ttl(le_1(2)),3"}) {
    EXPECT_TRUE(XdpCanDo(Parsed(text))) << text;
  }
}

TEST(XdpCanDo, NotWhatWantsAnotherCopy) {
  for (const std::string text :
       {"1,pop_vlan,2", "1,flood", "flood,1", "upcall,1", "1,upcall", "flood,flood", "upcall,upcall", "trunc(60),1",
        "set(sctp(src=1)),1", "dec_ttl(le_1(1,2)),3", "dec_ttl(le_1(pop_vlan,1)),2", "dec_ttl(le_1(dec_ttl)),2", "ct,1",
        "set(skb_mark(1)),1", "recirc(1)"}) {
    EXPECT_FALSE(XdpCanDo(Parsed(text))) << text;
  }
}

// Unless it sends the packet again.
TEST(XdpCanDo, EditsThatNobodySees) {
  EXPECT_TRUE(XdpCanDo(Parsed("1,2,pop_vlan,dec_ttl,set(udp(src=1))")));
  EXPECT_TRUE(XdpCanDo(Parsed("upcall,pop_vlan")));
  EXPECT_FALSE(XdpCanDo(Parsed("1,dec_ttl(le_1(2))")));
  EXPECT_TRUE(XdpCanDo({Output{1}, Drop{}, Recirc{1}}));
}

TEST(WayOf, IsThatOfThePacketsTtl) {
  const Actions actions = Parsed("dec_ttl(le_1(2)),push_vlan(vid=1),dec_ttl,3");
  const Way past = WayOf(actions, Udp4(3));
  EXPECT_EQ(past.actions, actions);
  EXPECT_FALSE(past.expired);
  const Way first = WayOf(actions, Udp4(1));
  EXPECT_EQ(first.actions, Parsed("2"));
  EXPECT_TRUE(first.expired);
  EXPECT_EQ(Edited(first, Udp4(1)), Udp4(1));
  const Way second = WayOf(actions, Udp4(2));
  EXPECT_TRUE(second.expired);
  EXPECT_TRUE(std::ranges::none_of(second.actions, IsTerminal));
  EXPECT_EQ(Edited(second, Udp4(2)).size(), Udp4(2).size() + 4);
}

TEST(SendsAnything, OrDropsWhateverComes) {
  for (const std::string text : {"1", "upcall", "dec_ttl(le_1(flood))", "pop_vlan,1,pop_vlan"}) {
    EXPECT_TRUE(SendsAnything(Parsed(text))) << text;
  }
  for (const std::string text : {"drop", "pop_vlan,dec_ttl", "dec_ttl(le_1(pop_vlan))"}) {
    EXPECT_FALSE(SendsAnything(Parsed(text))) << text;
  }
}

TEST(WayOf, EndsWhereThePacketIsSent) {
  const Way way = WayOf(Parsed("2,dec_ttl"), Udp4(1));
  EXPECT_FALSE(way.expired);
  EXPECT_EQ(Edited(way, Udp4(1)), Udp4(1));
}

// On a list that XDP can do, the packet of its way is what the reference sends.
TEST(WayOf, AgreesWithTheReference) {
  const uint64_t seed = reference::SeedFromEnvironment();
  reference::Rng rng(seed);
  int expired = 0;
  int possible = 0;
  constexpr int kLists = 20000;
  for (int i = 0; i < kLists; ++i) {
    const Actions actions = RandomActions(rng);
    if (!XdpCanDo(actions)) continue;
    ++possible;
    const reference::Bytes frame = RandomFrame(rng);
    const Way way = WayOf(actions, frame);
    const auto outcome = reference::Execute(actions, frame, 1, {1, 2, 3});
    const reference::Bytes edited = Edited(way, frame);
    for (const auto& [port, sent] : outcome.emissions) {
      ASSERT_EQ(sent, edited) << "SLUICE_SEED=" << seed << " " << FormatActions(actions);
    }
    const bool sends = std::ranges::any_of(way.actions, IsTerminal);
    ASSERT_EQ(sends, !outcome.emissions.empty() || !outcome.upcalls.empty())
        << "SLUICE_SEED=" << seed << " " << FormatActions(actions);
    expired += way.expired ? 1 : 0;
  }
  // What generated lists are worth to the comparison.
  EXPECT_GT(possible, kLists * 3 / 4);
  EXPECT_LT(possible, kLists * 19 / 20);
  EXPECT_GT(expired, kLists / 200);
}

// They are as text what they are, so that a failing scenario can be run by hand.
TEST(RandomActions, SurviveTheirText) {
  const uint64_t seed = reference::SeedFromEnvironment();
  reference::Rng rng(seed);
  for (int i = 0; i < 5000; ++i) {
    Actions actions = RandomActions(rng);
    std::erase_if(actions, [](const Action& action) { return std::holds_alternative<Drop>(action); });
    const std::string text = FormatActions(actions);
    const auto parsed = ParseActions(text);
    ASSERT_TRUE(parsed) << "SLUICE_SEED=" << seed << " " << text << ": " << parsed.error().detail;
    ASSERT_EQ(*parsed, actions) << "SLUICE_SEED=" << seed << " " << text;
  }
}

}  // namespace
}  // namespace sluice::compare
