// SPDX-License-Identifier: Apache-2.0
// The plugin between two hosts: eth0 of `a` is port p0 (1), eth0 of `b` is port p1 (2).
#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <string>

#include "packet_socket.h"
#include "plugin_rig.h"
#include "reference/packet.h"
#include "support/temp_dir.h"
#include "support/veth.h"

namespace sluice::test {

class TwoHosts : public testing::Test {
 protected:
  void SetUp() override {
    if (const auto why = WhyNoKernelTests(); !why.empty()) GTEST_SKIP() << why;
    here_ = std::make_unique<Netns>("slp");
    a_ = std::make_unique<Netns>("slp");
    b_ = std::make_unique<Netns>("slp");
    veth_a_ = std::make_unique<Veth>(VethEnd{here_.get(), "p0"}, VethEnd{a_.get(), "eth0"}, queues_);
    veth_b_ = std::make_unique<Veth>(VethEnd{here_.get(), "p1"}, VethEnd{b_.get(), "eth0"}, queues_);
    at_a_ = std::make_unique<PacketSocket>(*a_, "eth0");
    at_b_ = std::make_unique<PacketSocket>(*b_, "eth0");
    rig_ = std::make_unique<PluginRig>(*here_, run_dir_.path());
    ASSERT_EQ(rig_->Start(), "");
  }
  void AddPorts(const PortOptions& options = {}) {
    for (const auto& [name, number] : {std::pair{"p0", 1U}, std::pair{"p1", 2U}}) {
      const auto port = rig_->AddPort(name, number, options);
      ASSERT_EQ(port.state(), "up") << port.detail();
    }
  }
  // A UDP packet from a to b, told from others by its source port.
  static reference::Bytes Udp(uint16_t source, uint16_t payload = 26) {
    reference::PacketSpec spec;
    spec.dst = {2, 0, 0, 0, 0, 2};
    spec.src = {2, 0, 0, 0, 0, 1};
    reference::Ipv4Spec ip;
    ip.src = 0x0a000001;
    ip.dst = 0x0a000002;
    spec.l3 = ip;
    spec.l4 = reference::UdpSpec{source, 53};
    spec.payload = payload;
    return reference::Build(spec);
  }
  static std::string Text(const reference::Bytes& frame) { return {frame.begin(), frame.end()}; }

  unsigned queues_ = 1;
  TempDir run_dir_;
  std::unique_ptr<Netns> here_, a_, b_;
  std::unique_ptr<Veth> veth_a_, veth_b_;
  std::unique_ptr<PacketSocket> at_a_, at_b_;
  std::unique_ptr<PluginRig> rig_;
};

}  // namespace sluice::test
