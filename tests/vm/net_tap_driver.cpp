// SPDX-License-Identifier: Apache-2.0
// DPDK's net_tap in the VM, whose kernel enforces its rules: what the driver takes and refuses, what frames meet then,
// and whether TapReadback says of each rule what frames say.
#include <gtest/gtest.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <rte_errno.h>
#include <rte_ethdev.h>
#include <rte_flow.h>
#include <rte_mbuf.h>
#include <sys/socket.h>

#include <array>
#include <chrono>
#include <cstdlib>
#include <memory>
#include <string>

#include "eal.h"
#include "eth_device.h"
#include "offload/flow_api.h"
#include "reference/packet.h"
#include "sluice/flow_text.h"
#include "sluice/unique_fd.h"
#include "tap/readback_tap.h"

namespace sluice::rteflow {
namespace {

constexpr uint16_t kQueues = 2;
constexpr reference::Mac kSender = {2, 0, 0, 0, 0, 1};
constexpr reference::Mac kReceiver = {2, 0, 0, 0, 0, 2};
constexpr uint32_t kDns = 0x0a000009;  // 10.0.0.9
constexpr uint32_t kOther = 0x0a000008;

std::unique_ptr<EthDevice> device;

// A tag is left to the interface that the frame is sent from: in one from a packet socket the kernel's dissector would
// look for it in the wrong place.
reference::Bytes Udp(uint32_t dst, uint16_t port) {
  reference::PacketSpec spec;
  spec.dst = kReceiver;
  spec.src = kSender;
  reference::Ipv4Spec ip;
  ip.src = 0x0a000001;
  ip.dst = dst;
  spec.l3 = ip;
  reference::UdpSpec udp;
  udp.src = 1000;
  udp.dst = port;
  spec.l4 = udp;
  return reference::Build(spec);
}

void Send(const std::string& interface, const reference::Bytes& frame, int count) {
  const UniqueFd socket(::socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0));
  sockaddr_ll to{};
  to.sll_family = AF_PACKET;
  to.sll_ifindex = static_cast<int>(if_nametoindex(interface.c_str()));
  ASSERT_GT(to.sll_ifindex, 0) << interface;
  for (int n = 0; n < count; ++n) {
    ASSERT_EQ(sendto(socket.get(), frame.data(), frame.size(), 0, reinterpret_cast<const sockaddr*>(&to), sizeof(to)),
              static_cast<ssize_t>(frame.size()));
  }
}

using Counts = std::array<int, kQueues>;  // by receive queue

// Our frames until there are `least`, and those that are there already besides. The kernel has dropped a frame, or
// queued it, when Send returns.
Counts Receive(int least) {
  Counts counts{};
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(20);
  for (int idle = 0; idle < 100 && std::chrono::steady_clock::now() < deadline;) {
    bool any = false;
    for (uint16_t queue = 0; queue < kQueues; ++queue) {
      std::array<rte_mbuf*, 32> burst{};
      const uint16_t got = rte_eth_rx_burst(device->id(), queue, burst.data(), burst.size());
      any = any || got > 0;
      for (uint16_t n = 0; n < got; ++n) {
        const auto* frame = rte_pktmbuf_mtod(burst[n], const uint8_t*);
        if (std::equal(kSender.begin(), kSender.end(), frame + 6)) ++counts[queue];
        rte_pktmbuf_free(burst[n]);
      }
    }
    if (!any && counts[0] + counts[1] >= least) ++idle;
  }
  return counts;
}

int Sum(const Counts& counts) { return counts[0] + counts[1]; }

// eth [/ vlan] [/ ipv4 / udp], as the tests want them.
struct Pattern {
  rte_flow_item_vlan vlan{}, vlan_mask{};
  rte_flow_item_ipv4 ipv4{}, ipv4_mask{};
  rte_flow_item_udp udp{}, udp_mask{};
  std::array<rte_flow_item, 5> items{};

  static std::unique_ptr<Pattern> Make(uint16_t vid, uint32_t dst, uint16_t port) {
    auto pattern = std::make_unique<Pattern>();
    size_t n = 0;
    pattern->items[n++].type = RTE_FLOW_ITEM_TYPE_ETH;
    if (vid != 0) {
      pattern->vlan.tci = rte_cpu_to_be_16(vid);
      pattern->vlan_mask.tci = RTE_BE16(0x0fff);
      pattern->vlan.inner_type = RTE_BE16(0x0800);
      pattern->vlan_mask.inner_type = RTE_BE16(0xffff);
      pattern->items[n++] = {RTE_FLOW_ITEM_TYPE_VLAN, &pattern->vlan, nullptr, &pattern->vlan_mask};
    }
    pattern->ipv4.hdr.dst_addr = rte_cpu_to_be_32(dst);
    pattern->ipv4_mask.hdr.dst_addr = RTE_BE32(0xffffffff);
    if (port != 0) {
      pattern->ipv4.hdr.next_proto_id = 17;
      pattern->ipv4_mask.hdr.next_proto_id = 0xff;
      pattern->udp.hdr.dst_port = rte_cpu_to_be_16(port);
      pattern->udp_mask.hdr.dst_port = RTE_BE16(0xffff);
    }
    pattern->items[n++] = {RTE_FLOW_ITEM_TYPE_IPV4, &pattern->ipv4, nullptr, &pattern->ipv4_mask};
    if (port != 0) pattern->items[n++] = {RTE_FLOW_ITEM_TYPE_UDP, &pattern->udp, nullptr, &pattern->udp_mask};
    pattern->items[n].type = RTE_FLOW_ITEM_TYPE_END;
    return pattern;
  }
};

class NetTap : public ::testing::Test {
 protected:
  void TearDown() override {
    rte_flow_error error{};
    EXPECT_EQ(api_.Flush(error), 0);
    Receive(0);
  }

  rte_flow* Create(uint32_t priority, const Pattern& pattern, std::initializer_list<rte_flow_action> actions) {
    rte_flow_attr attributes{};
    attributes.priority = priority;
    attributes.ingress = 1;
    return api_.Create(attributes, pattern.items.data(), actions.begin(), error_);
  }
  rte_flow* CreateDrop(uint32_t priority, const Pattern& pattern) {
    return Create(priority, pattern, {{RTE_FLOW_ACTION_TYPE_DROP, nullptr}, {RTE_FLOW_ACTION_TYPE_END, nullptr}});
  }
  // What the readback says of a rule for these packets, "" where it is content.
  std::string See(const Pattern& pattern, const std::string& flow, TaggedFrames tagged) {
    auto readback = TapReadback::Open(device->interface_index(), tagged);
    EXPECT_TRUE(readback);
    (*readback)->Begin();
    EXPECT_NE(CreateDrop(priority_++, pattern), nullptr) << error_.message;
    const auto seen = (*readback)->Check(*ParseMatch(flow));
    return seen ? "" : seen.error().detail;
  }

  EthdevFlowApi api_{device->id()};
  rte_flow_error error_{};
  uint32_t priority_ = 1;
};

TEST_F(NetTap, DropsWhatTheRuleSays) {
  ASSERT_NE(CreateDrop(1, *Pattern::Make(0, kDns, 53)), nullptr) << error_.message;
  Send("tap0", Udp(kDns, 53), 10);
  Send("tap0", Udp(kDns, 54), 3);
  Send("tap0", Udp(kOther, 53), 4);
  EXPECT_EQ(Sum(Receive(7)), 7);
}

TEST_F(NetTap, QueuesWhereTheRuleSays) {
  for (uint16_t queue = 0; queue < kQueues; ++queue) {
    const rte_flow_action_queue to{queue};
    rte_flow* rule = Create(1, *Pattern::Make(0, kDns, 53),
                            {{RTE_FLOW_ACTION_TYPE_QUEUE, &to}, {RTE_FLOW_ACTION_TYPE_END, nullptr}});
    ASSERT_NE(rule, nullptr) << error_.message;
    // The kernel would choose the queue by the source port, too.
    for (uint16_t flow = 0; flow < 16; ++flow) Send("tap0", Udp(kDns, 53), 1);
    const Counts counts = Receive(16);
    EXPECT_EQ(counts[queue], 16);
    EXPECT_EQ(Sum(counts), 16);
    ASSERT_EQ(api_.Destroy(rule, error_), 0);
  }
}

TEST_F(NetTap, RefusesWhatItCannotDo) {
  const rte_flow_action_mark mark{5};
  const rte_flow_action_queue queue{0};
  const auto pattern = Pattern::Make(0, kDns, 53);
  EXPECT_EQ(Create(1, *pattern,
                   {{RTE_FLOW_ACTION_TYPE_MARK, &mark},
                    {RTE_FLOW_ACTION_TYPE_QUEUE, &queue},
                    {RTE_FLOW_ACTION_TYPE_END, nullptr}}),
            nullptr);
  EXPECT_EQ(rte_errno, ENOTSUP);
  EXPECT_STREQ(error_.message, "action not supported");
  EXPECT_EQ(Create(1, *pattern,
                   {{RTE_FLOW_ACTION_TYPE_COUNT, nullptr},
                    {RTE_FLOW_ACTION_TYPE_DROP, nullptr},
                    {RTE_FLOW_ACTION_TYPE_END, nullptr}}),
            nullptr);
  EXPECT_EQ(rte_errno, ENOTSUP);
}

TEST_F(NetTap, SaysThatRulesExistWhenTheyDoAndWhenTheyDoNot) {
  ASSERT_NE(CreateDrop(1, *Pattern::Make(0, kDns, 53)), nullptr);
  EXPECT_EQ(CreateDrop(1, *Pattern::Make(0, kDns, 53)), nullptr);
  EXPECT_EQ(rte_errno, EEXIST);
  // One with a tag at the priority of one without: the kernel has a protocol for each priority.
  EXPECT_EQ(CreateDrop(1, *Pattern::Make(5, kDns, 0)), nullptr);
  EXPECT_EQ(rte_errno, EEXIST);
}

TEST_F(NetTap, ARuleWithoutATagTakesTaggedFramesAndTheReadbackSaysSo) {
  const auto pattern = Pattern::Make(0, kDns, 53);
  const std::string flow = "in_port(1),eth_type(0x0800),ipv4(dst=10.0.0.9,proto=17),udp(dst=53)";
  EXPECT_EQ(See(*pattern, flow, TaggedFrames::kPossible),
            "the driver's TC filter for eth_type(0x0800) takes frames with VLAN tags as well");
  Send("tap0.5", Udp(kDns, 53), 4);
  Send("tap0", Udp(kOther, 53), 1);
  EXPECT_EQ(Sum(Receive(1)), 1);
  rte_flow_error error{};
  ASSERT_EQ(api_.Flush(error), 0);
  EXPECT_EQ(See(*pattern, flow, TaggedFrames::kNever), "");
}

TEST_F(NetTap, AnotherVlanIsHeldAndTheReadbackSaysSo) {
  EXPECT_EQ(See(*Pattern::Make(100, kDns, 0),
                "in_port(1),eth_type(0x8100),vlan(vid=100),encap(eth_type(0x0800),ipv4(dst=10.0.0.9))",
                TaggedFrames::kPossible),
            "the driver's TC filter has vlan(vid=4) where the flow has vlan(vid=100)");
  Send("tap0.100", Udp(kDns, 53), 3);  // not dropped, though the rule says so
  Send("tap0.4", Udp(kDns, 53), 5);    // dropped, though it does not
  EXPECT_EQ(Sum(Receive(3)), 3);
}

TEST_F(NetTap, AVlanThatTheDriverHoldsRight) {
  EXPECT_EQ(See(*Pattern::Make(5, kDns, 0),
                "in_port(1),eth_type(0x8100),vlan(vid=5),encap(eth_type(0x0800),ipv4(dst=10.0.0.9))",
                TaggedFrames::kPossible),
            "");
  Send("tap0.5", Udp(kDns, 53), 5);
  Send("tap0.4", Udp(kDns, 53), 2);
  Send("tap0", Udp(kDns, 53), 1);
  EXPECT_EQ(Sum(Receive(3)), 3);
}

TEST_F(NetTap, ARuleThatIsGoneIsNotTakenForTheNewOne) {
  auto readback = TapReadback::Open(device->interface_index(), TaggedFrames::kNever);
  ASSERT_TRUE(readback);
  (*readback)->Begin();
  rte_flow* rule = CreateDrop(1, *Pattern::Make(0, kDns, 53));
  ASSERT_NE(rule, nullptr);
  ASSERT_EQ(api_.Destroy(rule, error_), 0);
  const auto seen =
      (*readback)->Check(*ParseMatch("in_port(1),eth_type(0x0800),ipv4(dst=10.0.0.9,proto=17),udp(dst=53)"));
  ASSERT_FALSE(seen);
  EXPECT_EQ(seen.error().detail, "the driver made no TC filter for this rule");
}

class TapInTheVm : public ::testing::Environment {
 public:
  void SetUp() override {
    const auto started =
        StartEal(EalArguments(""), [](int, const std::string& line) { fputs((line + "\n").c_str(), stderr); });
    ASSERT_TRUE(started) << started.error().detail;
    PortSettings settings;
    settings.devargs = "net_tap0,iface=tap0";
    settings.queues = kQueues;
    settings.rx_descriptors = 128;  // of which the driver takes a buffer each
    settings.buffers = 2048;
    auto opened = EthDevice::Open(settings, [] {});
    ASSERT_TRUE(opened) << opened.error().detail;
    device = *std::move(opened);
    for (const char* vid : {"4", "5", "100"}) {
      const std::string name = std::string("tap0.") + vid;
      ASSERT_EQ(std::system(
                    ("ip link add link tap0 name " + name + " type vlan id " + vid + " && ip link set " + name + " up")
                        .c_str()),
                0);
    }
  }
  void TearDown() override { device.reset(); }
};

}  // namespace
}  // namespace sluice::rteflow

int main(int argc, char** argv) {
  ::testing::InitGoogleTest(&argc, argv);
  if (std::getenv("SLUICE_IN_VM") == nullptr) {
    puts("skipped: only for the VM of tests/vm, whose kernel has cls_flower");
    return 77;
  }
  ::testing::AddGlobalTestEnvironment(new sluice::rteflow::TapInTheVm);
  return RUN_ALL_TESTS();
}
