// SPDX-License-Identifier: Apache-2.0
// A Linux network device as the wire.
#include "support/veth.h"

#include <memory>

#include "reference/checksum.h"
#include "reference/parser.h"
#include "rig.h"
#include "support/netns.h"
#include "support/process.h"
#include "xdp_ports/packet_socket.h"

namespace sluice::netsluice {
namespace {

using test::Netns;
using test::PacketSocket;
using test::Veth;

// A veth between two namespaces, `nic` over one end. The driver opens its socket in the namespace of who makes the
// device.
class NetSluiceVeth : public ::testing::Test {
 protected:
  void SetUp() override {
    if (const std::string why = test::WhyNoKernelTests(); !why.empty()) GTEST_SKIP() << why;
    near_ = std::make_unique<Netns>();
    far_ = std::make_unique<Netns>();
    veth_ = std::make_unique<Veth>(test::VethEnd{near_.get(), "near"}, test::VethEnd{far_.get(), "far"});
    peer_ = std::make_unique<PacketSocket>(*far_, "far");
  }
  void Make(const std::string& devargs = "") {
    near_->Do([&] { nic_ = std::make_unique<Port>("net_sluice_nic", "iface=near" + devargs); });
  }

  std::unique_ptr<Netns> near_;
  std::unique_ptr<Netns> far_;
  std::unique_ptr<Veth> veth_;
  std::unique_ptr<PacketSocket> peer_;
  std::unique_ptr<Port> nic_;
};

TEST_F(NetSluiceVeth, CarriesFramesBothWays) {
  for (const char* thread : {",thread=0", ",thread=1"}) {
    nic_.reset();
    Make(thread);
    const Bytes frame = Named("udp4");
    peer_->Send(frame);
    const auto received = nic_->Await(1);
    ASSERT_EQ(received.size(), 1u);
    EXPECT_EQ(received[0].frame, frame);
    EXPECT_TRUE(nic_->Send(Named("tcp6")));
    EXPECT_TRUE(peer_->Expect(Named("tcp6")));
    // What it sends it does not receive.
    peer_->Send(Named("arp"));
    const auto next = nic_->Await(1);
    ASSERT_EQ(next.size(), 1u);
    EXPECT_EQ(next[0].frame, Named("arp"));
  }
}

// The kernel takes tags off and tells of them beside the packet.
TEST_F(NetSluiceVeth, HasTheTagsThatWereOnTheWire) {
  Make();
  RuleSpec rule;
  ASSERT_NE(rule.Eth().Vid(5).Ipv4().Udp().Mark(1).Create(*nic_), nullptr) << rule.message();
  peer_->Send(Named("udp4_vlan"));
  peer_->Send(Named("udp6_qinq"));
  const auto received = nic_->Await(2);
  ASSERT_EQ(received.size(), 2u);
  EXPECT_EQ(received[0].frame, Named("udp4_vlan"));
  EXPECT_EQ(received[0].mark, 1u);
  EXPECT_EQ(received[1].frame, Named("udp6_qinq"));
  EXPECT_TRUE(nic_->Send(Named("udp4_vlan")));
  EXPECT_TRUE(peer_->Expect(Named("udp4_vlan")));
}

// Linux leaves checksums to the device, which a veth has not.
TEST_F(NetSluiceVeth, FinishesChecksumsThatTheSenderLeft) {
  far_->Ip({"address", "add", "10.9.0.2/24", "dev", "far"});
  far_->Ip({"neighbour", "add", "10.9.0.1", "lladdr", "02:00:00:00:00:01", "dev", "far"});
  Make();
  far_->Do([] {
    test::RunOrThrow({"python3", "-c",
                      "import socket; s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); "
                      "s.sendto(b'odd', ('10.9.0.1', 7))"});
  });
  std::vector<Received> received;
  do {
    received = nic_->Await(1);
    ASSERT_FALSE(received.empty());
  } while (reference::Parse(received[0].frame).key.ValueOf(Field::udp_dst) != 7);
  const Bytes& frame = received[0].frame;
  const uint16_t told = static_cast<uint16_t>(frame[40] << 8 | frame[41]);
  Bytes summed = {10, 9, 0, 2, 10, 9, 0, 1, 0, 17, 0, 11};
  summed.insert(summed.end(), frame.begin() + 34, frame.begin() + 34 + 11);
  summed[12 + 6] = summed[12 + 7] = 0;
  EXPECT_EQ(told, reference::Checksum(summed));
}

TEST_F(NetSluiceVeth, ForwardsFromOneDeviceToAnother) {
  const Veth other({near_.get(), "near2"}, {far_.get(), "far2"});
  const PacketSocket out(*far_, "far2");
  Make();
  std::unique_ptr<Port> nic2;
  near_->Do([&] { nic2 = std::make_unique<Port>("net_sluice_nic2", "iface=near2"); });
  RuleSpec rule;
  ASSERT_NE(rule.Vid(5)
                .Action(RTE_FLOW_ACTION_TYPE_OF_SET_VLAN_VID, rte_flow_action_of_set_vlan_vid{RTE_BE16(6)})
                .OutOf(*nic2)
                .Create(*nic_),
            nullptr)
      << rule.message();
  peer_->Send(Named("udp4_vlan"));
  EXPECT_TRUE(nic_->Receive().empty());
  reference::PacketSpec spec = NamedSpec("udp4_vlan");
  spec.tags[0].tci = 0x6006;
  EXPECT_TRUE(out.Expect(reference::Build(spec)));
}

TEST_F(NetSluiceVeth, LosesItsLinkWithItsDevice) {
  Make();
  EXPECT_TRUE(nic_->AwaitLink(true));
  far_->Ip({"link", "set", "far", "down"});
  EXPECT_TRUE(nic_->AwaitLink(false));
  EXPECT_TRUE(nic_->Send(Named("udp4")));  // and lost
  far_->Ip({"link", "set", "far", "up"});
  EXPECT_TRUE(nic_->AwaitLink(true));
  near_->Ip({"link", "delete", "near"});
  EXPECT_TRUE(nic_->AwaitLink(false));
  EXPECT_TRUE(nic_->Send(Named("udp4")));
  EXPECT_TRUE(nic_->Receive().empty());
  EXPECT_EQ(nic_->Xstats().at("tx_no_link"), 2u);
}

TEST_F(NetSluiceVeth, HasTheAddressOfItsDevice) {
  Make();
  rte_ether_addr mac{};
  ASSERT_EQ(rte_eth_macaddr_get(nic_->id(), &mac), 0);
  char text[RTE_ETHER_ADDR_FMT_SIZE];
  rte_ether_format_addr(text, sizeof(text), &mac);
  for (char* c = text; *c != 0; ++c) *c = static_cast<char>(std::tolower(*c));
  EXPECT_NE(near_->Ip({"link", "show", "near"}).find(text), std::string::npos) << text;
}

}  // namespace
}  // namespace sluice::netsluice
