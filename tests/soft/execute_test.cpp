// SPDX-License-Identifier: Apache-2.0
#include "soft/execute.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "execution.h"

namespace sluice::soft {
namespace {

using reference::Build;
using reference::PacketSpec;

using List = std::vector<Event>;

Bytes WithTtl(const std::string& name, uint8_t ttl) {
  PacketSpec spec = Named(name);
  if (auto* v4 = std::get_if<reference::Ipv4Spec>(&spec.l3)) v4->ttl = ttl;
  if (auto* v6 = std::get_if<reference::Ipv6Spec>(&spec.l3)) v6->hlimit = ttl;
  return Build(spec);
}

Bytes Cut(Bytes bytes, size_t size) {
  bytes.resize(size);
  return bytes;
}

TEST(Execute, SendsThePacketAsItIsByThen) {
  PacketSpec spec = Named("udp4");
  const Bytes plain = Build(spec);
  spec.tags = {{0x8100, 5}};
  const Bytes tagged = Build(spec);
  spec.tags.clear();
  std::get<reference::UdpSpec>(spec.l4).dst = 7;
  const Bytes changed = Build(spec);
  EXPECT_EQ(
      Events(plain, "1,push_vlan(vid=5,pcp=0),2,flood,pop_vlan,set(udp(dst=7)),upcall,3"),
      (List{{"1", plain}, {"2", tagged}, {"flood", tagged}, {"upcall", changed, changed.size()}, {"3", changed}}));
}

TEST(Execute, TellsOfWhatWentNowhere) {
  const Bytes packet = Build(Named("udp4"));
  EXPECT_EQ(Events(packet, Actions{}), (List{{"dropped"}}));
  EXPECT_EQ(Events(packet, "push_vlan(vid=5,pcp=0)"), (List{{"dropped"}}));
  EXPECT_EQ(Events(packet, Actions{Output{1}, Drop{}, Output{2}}), (List{{"1", packet}}));
  EXPECT_EQ(Events(packet, Actions{Drop{}, Output{2}}), (List{{"dropped"}}));
}

TEST(Execute, CutsTheNextCopyOnly) {
  const Bytes packet = Build(Named("udp4"));
  const size_t length = packet.size();
  EXPECT_EQ(Events(packet, "trunc(20),1,2"), (List{{"1", Cut(packet, 20)}, {"2", packet}}));
  EXPECT_EQ(Events(packet, "trunc(20),flood,upcall"), (List{{"flood", Cut(packet, 20)}, {"upcall", packet, length}}));
  EXPECT_EQ(Events(packet, "trunc(20),upcall(max_len=10),1"),
            (List{{"upcall", Cut(packet, 20), length}, {"1", packet}}));
  EXPECT_EQ(Events(packet, "trunc(20),trunc(30),1"), (List{{"1", Cut(packet, 30)}}));
  EXPECT_EQ(Events(packet, "trunc(9000),1"), (List{{"1", packet}}));
  // Of the packet as it is sent, and edits between do not make it whole.
  PacketSpec spec = Named("udp4");
  spec.tags = {{0x8100, 5}};
  EXPECT_EQ(Events(packet, "trunc(20),push_vlan(vid=5,pcp=0),1,2"),
            (List{{"1", Cut(Build(spec), 20)}, {"2", Build(spec)}}));
}

TEST(Execute, ExpiresInsteadOfGoingOn) {
  for (const char* name : {"udp4", "udp6"}) {
    EXPECT_EQ(Events(WithTtl(name, 2), "dec_ttl,1"), (List{{"1", WithTtl(name, 1)}})) << name;
    for (const uint8_t ttl : {0, 1}) {
      const Bytes packet = WithTtl(name, ttl);
      EXPECT_EQ(Events(packet, "dec_ttl,1"), (List{{"expired"}, {"dropped"}})) << name;
      EXPECT_EQ(Events(packet, "dec_ttl(le_1(2,upcall)),1"),
                (List{{"expired"}, {"2", packet}, {"upcall", packet, packet.size()}}))
          << name;
    }
  }
  const Bytes arp = Build(Named("arp"));
  EXPECT_EQ(Events(arp, "dec_ttl,1"), (List{{"1", arp}}));
}

TEST(Execute, ExpiresOnThePacketAsItIsByThen) {
  const Bytes packet = WithTtl("udp4", 2);
  PacketSpec spec = Named("udp4");
  std::get<reference::Ipv4Spec>(spec.l3).ttl = 1;
  spec.tags = {{0x8100, 5}};
  EXPECT_EQ(Events(packet, "trunc(20),dec_ttl,push_vlan(vid=5,pcp=0),dec_ttl(le_1(1,2)),3"),
            (List{{"expired"}, {"1", Cut(Build(spec), 20)}, {"2", Build(spec)}}));
  // What was sent before counts as sent.
  EXPECT_EQ(Events(WithTtl("udp4", 1), "1,dec_ttl,2"), (List{{"1", WithTtl("udp4", 1)}, {"expired"}}));
}

TEST(Execute, ExpiresAgainWithinTheList) {
  const Bytes packet = WithTtl("udp6", 1);
  EXPECT_EQ(Events(packet, "dec_ttl(le_1(dec_ttl(le_1(7)),8)),9"), (List{{"expired"}, {"expired"}, {"7", packet}}));
  EXPECT_EQ(Events(packet, "dec_ttl(le_1(set(ipv6(hlimit=9)),dec_ttl(le_1(7)),8)),9"),
            (List{{"expired"}, {"8", WithTtl("udp6", 8)}}));
}

TEST(Execute, DoesFortyActions) {
  PacketSpec spec = Named("tcp4");
  const Bytes packet = Build(spec);
  std::string actions;
  List expected;
  for (uint16_t i = 1; i <= 20; ++i) {
    actions += (i > 1 ? ",set(tcp(dst=" : "set(tcp(dst=") + std::to_string(i) + "))," + std::to_string(i);
    std::get<reference::TcpSpec>(spec.l4).dst = i;
    expected.push_back({std::to_string(i), Build(spec)});
  }
  EXPECT_EQ(Events(packet, actions), expected);
}

TEST(Execute, UsesOneFrameForManyPackets) {
  Frame frame;
  const Actions actions = Parsable("push_vlan(vid=5,pcp=0),1");
  for (const auto& [name, named] : reference::NamedPackets()) {
    PacketSpec spec = named;
    for (const uint16_t payload : {1400, 0, 9000}) {
      spec.payload = payload;
      spec.tags = named.tags;
      const Bytes packet = Build(spec);
      frame.Assign(packet);
      Recorder recorder;
      Execute(actions, frame, Parse(packet, kInPort).headers, recorder);
      spec.tags.insert(spec.tags.begin(), {0x8100, 5});
      EXPECT_EQ(recorder.events(), (List{{"1", Build(spec)}})) << name;
    }
  }
}

// The frame's memory ends with its bytes here, so that a sanitizer sees a step behind them.
TEST(Execute, StaysWithinFramesCutAnywhere) {
  const Actions edits = Parsable(
      "set(eth(src=00:00:00:00:00:09,dst=00:00:00:00:00:08)),set(vlan(vid=9)),set(ipv4(src=1.2.3.4,dst=1.2.3.5,tos=1,"
      "ttl=9)),set(ipv6(src=::1,dst=::2,label=5,tclass=5,hlimit=9)),set(tcp(src=1,dst=2)),set(udp(src=1,dst=2)),"
      "set(sctp(src=1,dst=2)),set(icmp(type=1,code=2)),set(icmpv6(type=1,code=2)),set(arp(sip=1.1.1.1,tip=2.2.2.2,op=9,"
      "sha=00:00:00:00:00:09,tha=00:00:00:00:00:08)),dec_ttl,pop_vlan,pop_vlan,push_vlan(vid=1,pcp=0),1");
  for (const auto& [name, spec] : reference::NamedPackets()) {
    const Bytes whole = Build(spec);
    for (size_t size = 0; size <= whole.size(); ++size) {
      const Bytes packet(whole.begin(), whole.begin() + static_cast<ptrdiff_t>(size));
      Frame frame;
      frame.Assign(packet);
      Recorder recorder;
      Execute(edits, frame, Parse(packet, kInPort).headers, recorder);
      ASSERT_EQ(recorder.events().size(), 1u) << name << " cut to " << size;
      const size_t tags = std::min<size_t>(spec.tags.size(), 2);
      const Bytes& sent = recorder.events().front().frame;
      if (size < 14) {
        EXPECT_EQ(sent, packet) << name;
      } else if (size >= 14 + 4 * tags) {
        EXPECT_EQ(sent.size(), size + 4 - 4 * tags) << name << " cut to " << size;
      }
    }
  }
}

// ---- what cannot be done

TEST(Check, TakesWhatExecuteDoes) {
  for (const char* actions :
       {"drop", "1,2,flood,upcall(max_len=64)",
        "push_vlan(vid=1,pcp=0),pop_vlan,trunc(100),dec_ttl(le_1(1,trunc(20),upcall))",
        "set(eth(src=00:00:00:00:00:01)),set(vlan(vid=3)),set(ipv4(tos=1)),set(ipv6(label=1)),set(tcp(src=1)),1"}) {
    const auto checked = Check(Parsable(actions));
    EXPECT_TRUE(checked) << checked.error().detail;
  }
}

// Of every action and every group that can be set: listed where Check takes it, and only there.
TEST(Check, TakesWhatIsListed) {
  const auto listed = ExecutableActions();
  const auto is_listed = [&](const std::string& name) {
    return std::find(listed.begin(), listed.end(), name) != listed.end();
  };
  for (const char* text : {"1", "flood", "push_vlan(vid=1)", "pop_vlan", "dec_ttl", "upcall", "trunc(20)",
                           "recirc(0x1)", "ct", "ct_clear", "tnl_pop(1)"}) {
    const auto actions = ParseActions(text);
    ASSERT_TRUE(actions) << text << ": " << actions.error().detail;
    EXPECT_EQ(static_cast<bool>(Check(*actions)), is_listed(ActionName(actions->front()))) << text;
  }
  for (const FieldInfo& field : kFields) {
    if (!field.settable) continue;
    SetField set;
    const std::vector<uint8_t> ones(field.size, 0xff);
    set.fields.Set(field.id, ones, ones);
    EXPECT_EQ(static_cast<bool>(Check({set})), is_listed(ActionName(set))) << field.name;
  }
}

TEST(Check, NamesWhatCannotBeDone) {
  const std::vector<std::pair<std::string, std::string>> cases = {
      {"1,recirc(0x1)", "recirc: no packet meets the flows twice"},
      {"ct(commit,zone=5)", "ct: it tracks no connections"},
      {"ct_clear", "ct_clear: it tracks no connections"},
      {"tnl_pop(4)", "tnl_pop: it has no tunnels"},
      {"set(tunnel(tun_id=0x1,src=1.1.1.1,dst=2.2.2.2,ttl=64)),1",
       "set(tunnel): tun_id is nothing it writes into a frame"},
      {"set(skb_mark(0x1))", "set(skb_mark): skb_mark is nothing it writes into a frame"},
      {"set(skb_priority(1))", "set(skb_priority): skb_priority is nothing it writes into a frame"},
      {"set(nd(target=::1))", "set(nd): nd_target is nothing it writes into a frame"},
      {"dec_ttl(le_1(1,dec_ttl(le_1(ct_clear)))),1", "ct_clear: it tracks no connections"}};
  for (const auto& [actions, why] : cases) {
    const auto checked = Check(Parsable(actions));
    ASSERT_FALSE(checked) << actions;
    EXPECT_EQ(checked.error().reason, "unsupported_action");
    EXPECT_EQ(checked.error().detail, "the software path cannot do " + why);
  }
  const auto tunnel = Check({TnlPush{}});
  ASSERT_FALSE(tunnel);
  EXPECT_EQ(tunnel.error().detail, "the software path cannot do tnl_push: it has no tunnels");
}

TEST(Check, BoundsHowDeepListsNest) {
  Actions actions = {Output{1}};
  for (size_t depth = 0; depth < kMaxActionDepth; ++depth) actions = {DecTtl{actions}};
  EXPECT_TRUE(Check(actions));
  const auto deeper = Check({DecTtl{actions}});
  ASSERT_FALSE(deeper);
  EXPECT_EQ(deeper.error().reason, "unsupported_action");
}

}  // namespace
}  // namespace sluice::soft
