// SPDX-License-Identifier: Apache-2.0
// The order in which ways are tried, what is remembered of it, and what becomes of errors.
#include "offload/offloader.h"

#include <gtest/gtest.h>

#include <cerrno>
#include <string>
#include <vector>

#include "offloader_rig.h"

namespace sluice::rteflow {
namespace {

using Lines = std::vector<std::string>;

constexpr const char* kIpv4 = "eth_type(0x0800)";

FakeDevice::Abilities Can(std::vector<std::string> actions) {
  FakeDevice::Abilities abilities;
  abilities.actions = std::move(actions);
  return abilities;
}

TEST(Order, BeginsWithTheMostThatADeviceCould) {
  Rig rig;
  EXPECT_EQ(rig.Extent(kIpv4, "2"), "full");
  EXPECT_EQ(rig.device.Asked(), Lines{"transfer: count, represented_port 12"});
}

TEST(Order, IsThisOne) {
  Rig rig(Can({"mark", "queue"}));
  rig.device.can.mark_alone = false;
  EXPECT_EQ(rig.Extent(kIpv4, "set(eth(dst=02:00:00:00:00:01)),2"), "mark, queue");
  EXPECT_EQ(rig.device.Asked(),
            (Lines{"transfer: count, modify_field mac_dst 0+48 020000000001, represented_port 12",
                   "transfer: count, set_mac_dst 020000000001, represented_port 12",
                   "transfer: count, modify_field mac_dst 0+48 020000000001, port_id 12",
                   "transfer: count, set_mac_dst 020000000001, port_id 12",
                   "ingress: count, modify_field mac_dst 0+48 020000000001, represented_port 12",
                   "ingress: count, set_mac_dst 020000000001, represented_port 12",
                   "ingress: count, modify_field mac_dst 0+48 020000000001, port_id 12",
                   "ingress: count, set_mac_dst 020000000001, port_id 12", "ingress: mark 7, count",
                   "ingress: mark 7, count, queue 0", "ingress: queue 0, mark 7, count", "ingress: mark 7, queue 0"}));
  EXPECT_EQ(rig.offloader.refused_attempts(), 11u);
}

TEST(Order, OfSeveralOutputsHasOneWithoutSample) {
  Rig rig(Can({"count", "port_id"}));
  EXPECT_EQ(rig.Extent(kIpv4, "1,2"), "full");
  EXPECT_EQ(rig.device.Asked(),
            (Lines{"transfer: count, sample 1 {represented_port 11}, represented_port 12",
                   "transfer: count, represented_port 11, represented_port 12",
                   "transfer: count, sample 1 {port_id 11}, port_id 12", "transfer: count, port_id 11, port_id 12"}));
}

TEST(Order, OfDropEndsWithOneThatIsNotCounted) {
  Offloader::Settings settings = Settings();
  Rig counted(Can({"drop"}), settings);
  EXPECT_TRUE(counted.Extent(kIpv4, "drop").starts_with("device_refused: ")) << "it would look idle";
  settings.uncounted = true;
  Rig rig(Can({"drop"}), settings);
  EXPECT_EQ(rig.Extent(kIpv4, "drop"), "full, not counted");
  EXPECT_EQ(rig.device.Asked(), (Lines{"transfer: count, drop", "ingress: count, drop", "ingress: mark 7, count",
                                       "ingress: mark 7, count, queue 0", "ingress: queue 0, mark 7, count",
                                       "ingress: mark 7, queue 0", "ingress: queue 0, mark 7", "transfer: drop"}));
  EXPECT_EQ(rig.Extent(kIpv4, "drop"), "full, not counted");
  EXPECT_EQ(rig.device.Asked(), Lines{"transfer: drop"}) << "the ways before it are known not to work";
}

TEST(Order, GoesPastWhatIsNotSupported) {
  struct Case {
    const char* name;
    FakeDevice::Abilities abilities;
    const char* forward;
    const char* drop;
  };
  FakeDevice::Abilities needs_queue = Can({"mark", "count", "queue", "drop"});
  needs_queue.mark_alone = false;
  FakeDevice::Abilities no_transfer;
  no_transfer.transfer = false;
  for (const Case& each : {
           Case{"full", {}, "full", "full"},
           Case{"no transfer", no_transfer, "full", "full"},
           Case{"port_id only", Can({"count", "port_id"}), "full", "device_refused"},
           Case{"mark-count", Can({"mark", "count"}), "mark, count", "mark, count"},
           Case{"mark-needs-queue", needs_queue, "mark, count, queue", "full"},
           Case{"no-count", Can({"mark", "queue", "drop", "represented_port"}), "mark, queue", "mark, queue"},
           Case{"drop-only", Can({"drop"}), "device_refused", "device_refused"},
           Case{"none", Can({}), "device_refused", "device_refused"},
       }) {
    Rig rig(each.abilities);
    const auto begins = [](const std::string& text, const std::string& with) {
      return with == "device_refused" ? text.starts_with(with + ": ") : text == with;
    };
    EXPECT_PRED2(begins, rig.Extent(kIpv4, "2"), each.forward) << each.name;
    EXPECT_PRED2(begins, rig.Extent("eth_type(0x0806)", "drop"), each.drop) << each.name;
  }
}

TEST(Order, SaysWhatTheDriverSaidLast) {
  Rig rig(Can({}));
  EXPECT_EQ(rig.Extent(kIpv4, "2"),
            "device_refused: queue, mark of mark 7 was refused: ACTION: no such action (Operation not supported)");
  EXPECT_EQ(rig.Extent(kIpv4, "flood"),
            "device_refused: queue, mark of mark 7 was refused: ACTION: no such action (Operation not supported); "
            "rte_flow cannot do flood: there is no action for it");
}

TEST(Order, HasNoFullWaysWhereTheyAreSwitchedOffOrCannotBeSaid) {
  Offloader::Settings settings = Settings();
  settings.full = false;
  Rig off({}, settings);
  EXPECT_EQ(off.Extent(kIpv4, "2"), "mark, count");
  EXPECT_EQ(off.device.Asked(), Lines{"ingress: mark 7, count"});
  Rig rig;
  EXPECT_EQ(rig.Extent(kIpv4, "flood"), "mark, count");
  EXPECT_EQ(rig.device.Asked(), Lines{"ingress: mark 7, count"});
}

TEST(Order, SpreadsOverQueuesByRssUnlessForbidden) {
  Offloader::Settings settings = Settings();
  settings.full = false;
  settings.queues = 3;
  FakeDevice::Abilities needs_queue;
  needs_queue.mark_alone = false;
  Rig rss(needs_queue, settings);
  EXPECT_EQ(rss.Extent(kIpv4, "2"), "mark, count, queue");
  EXPECT_EQ(rss.device.Asked(), (Lines{"ingress: mark 7, count", "ingress: mark 7, count, rss 0 1 2"}));
  Rig has_none(Can({"mark", "queue"}), settings);
  has_none.device.can.mark_alone = false;
  EXPECT_EQ(has_none.Extent(kIpv4, "2"), "mark, queue");
  EXPECT_EQ(has_none.device.Asked(),
            (Lines{"ingress: mark 7, count", "ingress: mark 7, count, rss 0 1 2", "ingress: mark 7, count, queue 0",
                   "ingress: queue 0, mark 7, count", "ingress: mark 7, rss 0 1 2", "ingress: mark 7, queue 0"}));
  settings.rss = false;
  Rig forbidden(needs_queue, settings);
  EXPECT_EQ(forbidden.Extent(kIpv4, "2"), "mark, count, queue");
  EXPECT_EQ(forbidden.device.Asked(), (Lines{"ingress: mark 7, count", "ingress: mark 7, count, queue 0"}));
}

// As some drivers want it.
TEST(Order, PutsTheQueueBeforeTheMarkInTheEnd) {
  class QueueFirst : public FakeDevice {
   public:
    using FakeDevice::FakeDevice;
    int Validate(const rte_flow_attr& attr, const rte_flow_item* pattern, const rte_flow_action* actions,
                 rte_flow_error& error) override {
      if (actions->type == RTE_FLOW_ACTION_TYPE_QUEUE) return FakeDevice::Validate(attr, pattern, actions, error);
      error = {RTE_FLOW_ERROR_TYPE_ACTION, nullptr, "the queue first"};
      return -EINVAL;
    }
  };
  QueueFirst device(Can({"mark", "queue"}));
  Offloader offloader(Settings(), device);
  const auto rule = offloader.Create({*ParseMatch(kIpv4), *ParseActions("2"), 0, 7});
  ASSERT_TRUE(rule) << rule.error().detail;
  EXPECT_EQ(rule->extent, Extent::kMarkQueue);
  EXPECT_EQ(FakeDevice::Of(rule->handle).actions, "queue 0, mark 7");
  EXPECT_EQ(offloader.Learnt().at("mark").substr(0, 12), "queue, mark;");
}

TEST(Order, EndsTunnelsInFullOffloadOnly) {
  constexpr const char* kTunnel = "tunnel(tun_id=0x5,dst=10.0.0.1),eth_type(0x0800)";
  Rig rig;
  rig.device.can.actions.emplace_back("vxlan_decap");
  const auto rule = rig.Put(kTunnel, "2");
  ASSERT_TRUE(rule) << rule.error().detail;
  EXPECT_EQ(rig.device.Asked(), Lines{"transfer: count, vxlan_decap, represented_port 12"});
  EXPECT_EQ(rig.Extent(kTunnel, "flood"), "unsupported_action: rte_flow cannot do flood: there is no action for it");
  Rig without(Can({"mark", "count", "represented_port"}));
  EXPECT_TRUE(without.Extent(kTunnel, "2").starts_with("device_refused: full by ingress, port_id, count was refused"));
  Offloader::Settings settings = Settings();
  settings.full = false;
  Rig off({}, settings);
  EXPECT_EQ(off.Extent(kTunnel, "2"),
            "unsupported_field: rte_flow cannot match tun_id: tunnels end in full offload only");
}

TEST(Validate, IsAskedAndNotBelieved) {
  Rig rig(Can({"mark", "count"}));
  rig.device.can.lies = true;
  EXPECT_EQ(rig.Extent(kIpv4, "2"), "mark, count");
  EXPECT_EQ(rig.device.creates, 5u) << "it says yes to all: each is tried";
  EXPECT_EQ(rig.offloader.refused_attempts(), 4u);
  Rig honest(Can({"mark", "count"}));
  EXPECT_EQ(honest.Extent(kIpv4, "2"), "mark, count");
  EXPECT_EQ(honest.device.creates, 1u) << "what it says no to is not tried";
  EXPECT_EQ(honest.offloader.refused_attempts(), 4u);
  Rig without(Can({"mark", "count"}));
  without.device.can.validates = false;
  EXPECT_EQ(without.Extent(kIpv4, "2"), "mark, count");
}

TEST(Memory, BeginsWithWhatWorkedBefore) {
  Rig rig(Can({"mark", "count"}));
  EXPECT_EQ(rig.Extent(kIpv4, "2"), "mark, count");
  EXPECT_EQ(rig.device.Asked().size(), 5u);
  const size_t validates = rig.device.validates;
  for (const char* match : {"eth_type(0x0806)", "eth_type(0x86dd)", "eth_type(0x8847)"}) {
    EXPECT_EQ(rig.Extent(match, "3"), "mark, count");
    EXPECT_EQ(rig.device.Asked(), Lines{"ingress: mark 7, count"});
  }
  EXPECT_EQ(rig.device.validates, validates) << "what is known to work is not asked about";
  EXPECT_EQ(rig.Extent(kIpv4, "drop"), "mark, count");
  EXPECT_EQ(rig.device.Asked().size(), 3u) << "of another shape nothing is known: two drops and the mark";
}

TEST(Memory, IsOfAShapeOfActions) {
  Rig rig(Can({"count", "port_id", "mark"}));
  EXPECT_EQ(rig.Extent(kIpv4, "1"), "full");
  EXPECT_EQ(rig.Extent(kIpv4, "set(eth(dst=02:00:00:00:00:01)),1"), "mark, count");
  rig.device.Asked();
  EXPECT_EQ(rig.Extent(kIpv4, "3"), "full");
  EXPECT_EQ(rig.device.Asked(), Lines{"transfer: count, port_id 13"});
  EXPECT_EQ(rig.Extent(kIpv4, "set(eth(dst=02:00:00:00:00:02)),2"), "mark, count");
  EXPECT_EQ(rig.device.Asked(), Lines{"ingress: mark 7, count"});
}

TEST(Memory, LearnsNothingFromWhatThePatternIsRefusedFor) {
  Rig rig;
  rig.device.can.no_items = {RTE_FLOW_ITEM_TYPE_SCTP};
  EXPECT_TRUE(rig.Extent("eth_type(0x0800),ipv4(proto=132),sctp(dst=1)", "2").starts_with("device_refused: "));
  EXPECT_EQ(rig.Extent(kIpv4, "2"), "full");
  // A switch without an item that the port has: later flows are not the worse for it.
  class NoVlanInTheSwitch : public FakeDevice {
   public:
    using FakeDevice::FakeDevice;
    int Validate(const rte_flow_attr& attr, const rte_flow_item* pattern, const rte_flow_action* actions,
                 rte_flow_error& error) override {
      can.no_items = attr.transfer != 0 ? std::vector{RTE_FLOW_ITEM_TYPE_VLAN} : std::vector<rte_flow_item_type>{};
      return FakeDevice::Validate(attr, pattern, actions, error);
    }
  };
  NoVlanInTheSwitch device{FakeDevice::Abilities{}};
  Offloader offloader(Settings(), device);
  const auto tagged = ParseMatch("eth_type(0x8100),vlan(vid=5)");
  const auto plain = ParseMatch(kIpv4);
  const auto actions = ParseActions("2");
  const auto first = offloader.Create({*tagged, *actions, 0, 7});
  ASSERT_TRUE(first);
  EXPECT_FALSE(first->transfer);
  const auto second = offloader.Create({*plain, *actions, 0, 7});
  ASSERT_TRUE(second);
  EXPECT_TRUE(second->transfer);
}

TEST(Memory, KeepsABetterWayForOthersWhereALesserOneHelps) {
  Rig rig;
  EXPECT_EQ(rig.Extent(kIpv4, "2"), "full");
  rig.device.can.transfer = false;
  EXPECT_EQ(rig.Extent(kIpv4, "2"), "full");
  rig.device.can.transfer = true;
  rig.device.Asked();
  EXPECT_EQ(rig.Extent(kIpv4, "2"), "full");
  EXPECT_EQ(rig.device.Asked(), Lines{"transfer: count, represented_port 12"});
}

TEST(Memory, IsLostWithTheDevice) {
  Rig rig(Can({"mark", "count"}));
  EXPECT_EQ(rig.Extent(kIpv4, "2"), "mark, count");
  rig.device.can = {};
  EXPECT_EQ(rig.Extent(kIpv4, "2"), "mark, count");
  rig.offloader.Forget();
  EXPECT_EQ(rig.Extent(kIpv4, "2"), "full");
}

TEST(Memory, IsToldToPeople) {
  Rig rig(Can({"mark", "count", "drop"}));
  EXPECT_EQ(rig.Extent(kIpv4, "2"), "mark, count");
  EXPECT_EQ(rig.Extent(kIpv4, "drop"), "full");
  const std::map<std::string, std::string> wanted{
      {"mark", "mark, count"},
      {"output",
       "mark only; full by ingress, port_id, count was refused: ACTION: no such action (Operation not "
       "supported)"},
      {"drop", "full by transfer, drop, count"},
      {"priorities", "65536"},
      {"priorities of transfer", "65536"},
      {"counters are reset when read", "not yet known"}};
  EXPECT_EQ(rig.offloader.Learnt(), wanted);
}

TEST(Memory, TellsOfAWayThatWasRefusedBeforeTheOneThatWorked) {
  Rig rig(Can({"count", "port_id"}));
  EXPECT_EQ(rig.Extent(kIpv4, "2"), "full");
  EXPECT_EQ(rig.offloader.Learnt().at("output"),
            "full by transfer, port_id, count; full by transfer, represented_port, count was refused: ACTION: no such "
            "action (Operation not supported)");
}

TEST(Faults, AFullTableIsOneAtOnce) {
  Rig rig;
  rig.device.can.capacity = 3;
  std::vector<OffloadRule> rules;
  for (int i = 0; i < 3; ++i) {
    auto rule = rig.Put("eth_type(0x88" + std::to_string(10 + i) + ")", "2");
    ASSERT_TRUE(rule);
    rules.push_back(*rule);
  }
  rig.device.Asked();
  EXPECT_EQ(rig.Extent(kIpv4, "2"),
            "table_full: the device's table is full: full by transfer, represented_port, count was refused: "
            "UNSPECIFIED: no room (No space left on device)");
  EXPECT_EQ(rig.device.Asked().size(), 1u);
  EXPECT_TRUE(rig.Extent(kIpv4, "set(eth(dst=02:00:00:00:00:02)),2").starts_with("table_full: "));
  ASSERT_TRUE(rig.offloader.Destroy(rules[0]));
  EXPECT_EQ(rules[0].handle, nullptr);
  rig.device.Asked();
  EXPECT_EQ(rig.Extent(kIpv4, "set(eth(dst=02:00:00:00:00:02)),2"), "full");
  EXPECT_EQ(rig.device.Asked(), Lines{"transfer: count, modify_field mac_dst 0+48 020000000002, represented_port 12"});
  EXPECT_EQ(rig.device.rules(), 3u);
}

TEST(Faults, AnOverlapIsNamedAndTriedOnce) {
  Rig rig;
  rig.device.can.one_per_pattern = true;
  EXPECT_EQ(rig.Extent(kIpv4, "2"), "full");
  rig.device.Asked();
  EXPECT_EQ(rig.Extent(kIpv4, "3"),
            "device_refused: the device has a rule that overlaps with this one and takes no other: full by transfer, "
            "represented_port, count was refused: HANDLE: there already (File exists)");
  EXPECT_EQ(rig.device.Asked().size(), 1u);
  EXPECT_EQ(rig.Extent("eth_type(0x86dd)", "3"), "full");
}

TEST(Faults, ADeviceThatFailsIsNotAskedFurther) {
  Rig rig;
  for (const int error : {EIO, ENODEV, ETIMEDOUT, ENOMEM}) {
    rig.device.fail_create = error;
    EXPECT_TRUE(rig.Extent(kIpv4, "2").starts_with("device_failed: the device failed: ")) << error;
    EXPECT_EQ(rig.device.Asked().size(), 1u);
  }
  rig.device.fail_create = 0;
  EXPECT_EQ(rig.Extent(kIpv4, "2"), "full");
}

TEST(Faults, MarksThatAreTooBigAreRefusedAndOthersAreNotTheWorseForIt) {
  Rig rig(Can({"mark", "count", "queue"}));
  rig.device.can.most_mark = 1000;
  EXPECT_EQ(rig.Extent(kIpv4, "2", 0, 1001),
            "device_refused: queue, mark of mark 1001 was refused: ACTION_CONF: such marks it has not (Invalid "
            "argument)");
  EXPECT_EQ(rig.Extent(kIpv4, "2", 0, 1000), "mark, count");
  EXPECT_TRUE(rig.Extent(kIpv4, "2", 0, 1001).starts_with("device_refused"));
  EXPECT_EQ(rig.Extent(kIpv4, "2", 0, 1), "mark, count");
}

TEST(Faults, ARuleThatIsNotDestroyedIsStillThere) {
  Rig rig;
  auto rule = rig.Put(kIpv4, "2");
  ASSERT_TRUE(rule);
  rig.device.fail_destroy = EBUSY;
  const auto destroyed = rig.offloader.Destroy(*rule);
  ASSERT_FALSE(destroyed);
  EXPECT_EQ(destroyed.error().reason, "device_failed");
  EXPECT_NE(rule->handle, nullptr);
  rig.device.fail_destroy = 0;
  EXPECT_TRUE(rig.offloader.Destroy(*rule));
  EXPECT_EQ(rig.device.rules(), 0u);
}

TEST(Fields, ThatCannotBeSaidAreNamed) {
  Rig rig;
  for (const auto& [match, text] : std::vector<std::pair<const char*, const char*>>{
           {"recirc_id(5)", "recirc_id: it is 0 in every packet that comes in"},
           {"ct_state(+trk)", "ct_state: it is 0 in every packet that comes in"},
           {"eth_type(0x0800),ipv4(frag=later)", "ipv4_frag: a mask cannot say that the fragment's offset is not 0"},
           {"eth_type(0x86dd),ipv6(frag=later)", "ipv6_frag: a mask cannot say that the fragment's offset is not 0"},
           {"eth_type(0x86dd),ipv6(frag=first)", "ipv6_frag: of first fragments only with proto, matched exactly"},
           {"eth_type(0x86dd),ipv6(proto=44)", "ipv6_proto: it would take packets with extension header 44"},
           {"eth_type(0x86dd),ipv6(proto=58),icmpv6(type=135),nd(target=fe80::1)",
            "nd_target: there is no item for it"},
           {"eth_type(0x8035),arp(op=3)", "arp_op: the item is ARP's, not RARP's"},
           {"eth_type(0/0x0100)", "eth_type: the mask would let 802.3 lengths through"},
           {"tunnel(tun_id=0x5),eth_type(0x0800)",
            "tun_id: without src or dst of the tunnel it is not said whether it is IPv4 or IPv6"},
           {"tunnel(tun_id=0x1000005,dst=10.0.0.1)", "tun_id: a VXLAN identifier has 24 bits"},
       }) {
    EXPECT_EQ(rig.Extent(match, "2"), std::string("unsupported_field: rte_flow cannot match ") + text);
  }
  EXPECT_EQ(rig.device.Asked(), Lines{});
  EXPECT_EQ(rig.Extent("recirc_id(0),ct_state(0/0xff),skb_mark(0),eth_type(0x0800)", "2"), "full");
}

}  // namespace
}  // namespace sluice::rteflow
