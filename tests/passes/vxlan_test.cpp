// SPDX-License-Identifier: Apache-2.0
// Against the kernel's own vxlan device: what it sends is taken apart, and what is sent to it arrives, over real veths.
// The frames of both on the wire are the same but for what the kernel may choose.
#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <gtest/gtest.h>
#include <linux/bpf.h>
#include <linux/if_link.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <fstream>
#include <optional>
#include <string>

#include "frames.h"
#include "pass_rig.h"
#include "support/netns.h"
#include "support/process.h"
#include "support/veth.h"

namespace sluice::xdp {
namespace {

// All frames of a device, both ways.
class Wire {
 public:
  Wire(const test::Netns& netns, const std::string& device) {
    netns.Do([&] {
      fd_ = socket(AF_PACKET, SOCK_RAW, htons(ETH_P_ALL));
      sockaddr_ll address{};
      address.sll_family = AF_PACKET;
      address.sll_protocol = htons(ETH_P_ALL);
      address.sll_ifindex = static_cast<int>(if_nametoindex(device.c_str()));
      if (bind(fd_, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0) throw std::runtime_error("bind");
    });
    const timeval timeout{2, 0};
    setsockopt(fd_, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof timeout);
  }
  ~Wire() { close(fd_); }
  Wire(const Wire&) = delete;
  Wire& operator=(const Wire&) = delete;

  void Send(const Bytes& frame) const {
    if (send(fd_, frame.data(), frame.size(), 0) < 0) throw std::runtime_error("send");
  }
  // The next one received that `wanted` likes.
  template <typename Wanted>
  std::optional<Bytes> Receive(const Wanted& wanted) const {
    for (;;) {
      Bytes frame(65536);
      sockaddr_ll from{};
      socklen_t length = sizeof from;
      const ssize_t n = recvfrom(fd_, frame.data(), frame.size(), 0, reinterpret_cast<sockaddr*>(&from), &length);
      if (n < 0) return std::nullopt;
      frame.resize(static_cast<size_t>(n));
      if (from.sll_pkttype != PACKET_OUTGOING && wanted(frame)) return frame;
    }
  }

 private:
  int fd_ = -1;
};

Bytes InnerFrame(uint8_t mark) {
  Bytes frame = UdpFrame(0x0a000002, 2000 + mark);
  frame.resize(300, mark);
  Store16(frame, 16, 286);
  Store16(frame, 38, 266);
  Store16(frame, 24, 0);
  return frame;
}

void SetSysctl(const std::string& name, int value) {
  std::ofstream file("/proc/sys/net/" + name);
  file << value << std::flush;
  if (!file) throw std::runtime_error("cannot set " + name);
}

// Host "far" has a vxlan device over the veth "wire"; its other end is "near", where our programs are.
class VxlanDevice : public testing::TestWithParam<bool> {
 protected:
  static bool ipv6() { return GetParam(); }

  VxlanDevice() : veth_({&far_, "wire"}, {&near_, "near"}) {}
  void SetUp() override {
    near_.Do([] {
      // bpf_fib_lookup wants it.
      SetSysctl("ipv4/conf/near/forwarding", 1);
      SetSysctl("ipv6/conf/near/disable_ipv6", 0);
      SetSysctl("ipv6/conf/near/forwarding", 1);
    });
    far_.Do([] { SetSysctl("ipv6/conf/wire/disable_ipv6", 0); });
    test::SetFeature({&far_, "wire"}, "tx", false);
    test::SetFeature({&near_, "near"}, "tx", false);
    test::SetFeature({&far_, "wire"}, "gro", true);  // so that what is redirected arrives
    far_.Ip({"link", "set", "wire", "address", "02:00:00:00:01:01"});
    near_.Ip({"link", "set", "near", "address", "02:00:00:00:01:02"});
    const std::string local = ipv6() ? "fd00::1" : "192.168.0.1", remote = ipv6() ? "fd00::2" : "192.168.0.2";
    far_.Ip({"address", "add", local + (ipv6() ? "/64" : "/24"), "dev", "wire", "nodad"});
    near_.Ip({"address", "add", remote + (ipv6() ? "/64" : "/24"), "dev", "near", "nodad"});
    far_.Ip({"neighbour", "add", remote, "lladdr", "02:00:00:00:01:02", "dev", "wire"});
    near_.Ip({"neighbour", "add", local, "lladdr", "02:00:00:00:01:01", "dev", "near"});
    far_.Ip({"link", "add", "vx", "type", "vxlan", "id", "1193046", "local", local, "remote", remote, "dstport", "4789",
             "tos", "0x14", "ttl", "63", "df", "set"});
    far_.Ip({"link", "set", "vx", "up"});
  }

  Outer OfTheirs() const {
    Outer outer;
    outer.ipv6 = ipv6();
    outer.csum = ipv6();
    outer.df = !ipv6();
    return outer;
  }
  bool IsVxlan(const Bytes& frame) const {
    const size_t l4 = ipv6() ? 54 : 34;
    return frame.size() > l4 + 8 && Load16(frame, 12) == (ipv6() ? 0x86dd : 0x0800) && frame[ipv6() ? 20 : 23] == 17 &&
           Load16(frame, l4 + 2) == 4789;
  }
  // Attached to "near" while it lives.
  class Attached {
   public:
    Attached(const test::Netns& netns, const PassRig& rig) : netns_(netns) {
      netns_.Do([&] {
        ifindex_ = static_cast<int>(if_nametoindex("near"));
        if (bpf_xdp_attach(ifindex_, rig.port->program_fd(), XDP_FLAGS_DRV_MODE, nullptr) != 0)
          throw std::runtime_error("bpf_xdp_attach");
      });
    }
    ~Attached() {
      netns_.Do([&] { bpf_xdp_detach(ifindex_, XDP_FLAGS_DRV_MODE, nullptr); });
    }
    Attached(const Attached&) = delete;
    Attached& operator=(const Attached&) = delete;

   private:
    const test::Netns& netns_;
    int ifindex_ = 0;
  };

  test::Netns far_{"slvf"}, near_{"slvn"};
  test::Veth veth_;
};

INSTANTIATE_TEST_SUITE_P(, VxlanDevice, testing::Bool(), [](const auto& ipv6) { return ipv6.param ? "ipv6" : "ipv4"; });

// What the device sends, and what tnl_push makes of the same inner frame.
TEST_P(VxlanDevice, SendsTheSameBytes) {
  const Wire inside(far_, "vx"), wire(near_, "near");
  PassRig rig;
  Outer outer = OfTheirs();
  sluice_step step = MakeStep(0, SLUICE_ACTION_OUTPUT, 2);
  Bytes header = HeaderOf(outer);
  const size_t l4 = ipv6() ? 54 : 34;
  Store16(header, l4, 0);
  std::swap_ranges(header.begin(), header.begin() + 6, header.begin() + 6);
  header[5] = 2;
  header[11] = 1;
  step.header_length = static_cast<uint32_t>(header.size());
  std::copy(header.begin(), header.end(), step.header);
  rig.First("", {SLUICE_ACTION_TNL_PUSH, rig.Step(step)});
  for (uint8_t mark = 1; mark <= 5; ++mark) {
    const Bytes inner = InnerFrame(mark);
    inside.Send(inner);
    auto theirs = wire.Receive([&](const Bytes& frame) { return IsVxlan(frame) && frame.back() == mark; });
    ASSERT_TRUE(theirs);
    Bytes ours = rig.Run(inner).frame;
    ASSERT_EQ(ours.size(), theirs->size());
    EXPECT_TRUE(ChecksumsAreRight(ours));
    EXPECT_TRUE(ChecksumsAreRight(*theirs));
    for (Bytes* frame : {&ours, &*theirs}) {  // what each chooses, and the checksums over that
      Store16(*frame, l4, 0);
      Store16(*frame, l4 + 6, 0);
      if (!ipv6()) {
        Store16(*frame, 18, 0);
        Store16(*frame, 24, 0);
      } else {
        (*frame)[15] &= 0xf0;  // the flow label
        Store16(*frame, 16, 0);
      }
    }
    EXPECT_EQ(reference::Hex(std::span(ours).first(l4 + 16)), reference::Hex(std::span(*theirs).first(l4 + 16)));
    EXPECT_EQ(ours, *theirs);
  }
}

// What the device sends comes out of tnl_pop, goes back in by tnl_push, and comes out of the device.
TEST_P(VxlanDevice, TakesAndGives) {
  if (!test::WhyNoKernelTests().empty()) GTEST_SKIP() << test::WhyNoKernelTests();
  std::unique_ptr<PassRig> rig;
  near_.Do([&] {
    rig = std::make_unique<PassRig>();
    ASSERT_TRUE(rig->groups->SetPort(2, if_nametoindex("near")));
  });
  sluice_step pop = MakeStep(SLUICE_STEP_CSUM_VERIFY, SLUICE_ACTION_RECIRC, 0);
  pop.tunnel_type = SLUICE_TUNNEL_VXLAN;
  pop.tunnel_port = 9;
  pop.tp_dst = 4789;
  Outer outer = OfTheirs();
  outer.id = 1193046;
  Bytes header = HeaderOf(outer);
  std::fill_n(header.begin(), 12, 0);  // the kernel knows
  Store16(header, ipv6() ? 54 : 34, 0);
  // From us to them.
  if (ipv6()) {
    header[37] = 2;
    header[53] = 1;
  } else {
    header[29] = 2;
    header[33] = 1;
  }
  sluice_step push = MakeStep(SLUICE_STEP_FIB, SLUICE_ACTION_OUTPUT, 2);
  push.header_length = static_cast<uint32_t>(header.size());
  push.ifindex = near_.IfIndex("near");
  std::copy(header.begin(), header.end(), push.header);
  const std::string udp = ipv6() ? "eth_type(0x86dd),ipv6(proto=17,frag=no),udp(dst=4789)"
                                 : "eth_type(0x0800),ipv4(proto=17,frag=no),udp(dst=4789)";
  rig->First(udp, {SLUICE_ACTION_TNL_POP, rig->Step(pop)});
  const uint32_t back = rig->Step(push);
  rig->Later("in_port(9),recirc_id(0),tunnel(tun_id=0x123456),eth_type(0x0800)",
             {SLUICE_ACTION_TNL_PUSH, back, "set(ipv4(ttl=9))"}, 1);
  const Attached attached(near_, *rig);
  const Wire inside(far_, "vx");
  for (uint8_t mark = 1; mark <= 20; ++mark) {
    Bytes inner = InnerFrame(mark);
    inside.Send(inner);
    const auto got = inside.Receive([&](const Bytes& frame) { return frame.size() == 300 && frame.back() == mark; });
    ASSERT_TRUE(got) << "popped " << rig->PassGrown(SLUICE_COUNT_tnl_popped) << ", pushed "
                     << rig->PassGrown(SLUICE_COUNT_tnl_pushed) << ", malformed "
                     << rig->PassGrown(SLUICE_COUNT_tnl_malformed) << ", checksum "
                     << rig->PassGrown(SLUICE_COUNT_tnl_checksum) << ", no neighbour "
                     << rig->PassGrown(SLUICE_COUNT_tnl_no_neighbour) << ", miss " << rig->PassGrown(SLUICE_COUNT_miss);
    EXPECT_EQ((*got)[22], 9);
  }
  EXPECT_EQ(rig->Grown(SLUICE_COUNT_missed_tail_call), 0);
}

// Nobody has said who that is.
TEST_P(VxlanDevice, WithoutANeighbourItIsDropped) {
  std::unique_ptr<PassRig> rig;
  near_.Do([&] { rig = std::make_unique<PassRig>(); });
  Outer outer = OfTheirs();
  Bytes header = HeaderOf(outer);
  header[ipv6() ? 53 : 33] = 77;
  sluice_step push = MakeStep(SLUICE_STEP_FIB, SLUICE_ACTION_OUTPUT, 2);
  push.header_length = static_cast<uint32_t>(header.size());
  push.ifindex = near_.IfIndex("near");
  std::copy(header.begin(), header.end(), push.header);
  rig->First("", {SLUICE_ACTION_TNL_PUSH, rig->Step(push)});
  near_.Do([&] { EXPECT_EQ(rig->Run(InnerFrame(1)).verdict, XDP_DROP); });
  EXPECT_EQ(rig->PassGrown(SLUICE_COUNT_tnl_no_neighbour), 1);
  near_.Ip({"neighbour", "add", ipv6() ? "fd00::4d" : "192.168.0.77", "lladdr", "02:00:00:00:01:4d", "dev", "near"});
  near_.Do([&] {
    const auto ran = rig->Run(InnerFrame(1));
    EXPECT_EQ(ran.verdict, XDP_REDIRECT);
    EXPECT_EQ(reference::Hex(std::span(ran.frame).first(12)), "02000000014d020000000102");
  });
}

}  // namespace
}  // namespace sluice::xdp
