// SPDX-License-Identifier: Apache-2.0
#include "packet_sender.h"

#include <gtest/gtest.h>

#include <cerrno>
#include <memory>
#include <optional>

#include "packet_socket.h"
#include "support/netns.h"
#include "support/veth.h"

namespace sluice::xdp {
namespace {

using reference::Bytes;

class PacketSenderTest : public testing::Test {
 protected:
  void SetUp() override {
    if (const auto why = test::WhyNoKernelTests(); !why.empty()) GTEST_SKIP() << why;
    here_ = std::make_unique<test::Netns>("slps");
    there_ = std::make_unique<test::Netns>("slps");
    veth_ = std::make_unique<test::Veth>(test::VethEnd{here_.get(), "p0"}, test::VethEnd{there_.get(), "eth0"});
    p0_ = static_cast<int>(here_->IfIndex("p0"));
    here_->Do([&] {
      auto sender = PacketSender::Open();
      ASSERT_TRUE(sender) << sender.error().detail;
      sender_.emplace(std::move(*sender));
    });
  }

  // A frame that says its number, of an experimental type.
  static Bytes Frame(uint32_t number, size_t size = 60) {
    Bytes frame = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2, 0, 0, 0, 0, 1, 0x88, 0xb5};
    frame.resize(size, 0x5a);
    for (size_t i = 0; i < 4 && 14 + i < size; ++i) frame[14 + i] = static_cast<uint8_t>(number >> 8 * (3 - i));
    return frame;
  }
  [[nodiscard]] test::PacketSocket FarEnd() const { return {*there_, "eth0"}; }

  std::unique_ptr<test::Netns> here_;
  std::unique_ptr<test::Netns> there_;
  std::unique_ptr<test::Veth> veth_;
  std::optional<PacketSender> sender_;
  int p0_ = 0;
};

void ExpectOutcome(const PacketSender::Outcome& outcome, uint64_t sent, uint64_t failed, int error, int ifindex) {
  EXPECT_EQ(outcome.sent, sent);
  EXPECT_EQ(outcome.failed, failed);
  EXPECT_EQ(outcome.error, error);
  EXPECT_EQ(outcome.ifindex, ifindex);
}

TEST_F(PacketSenderTest, SendsAllInTheirOrder) {
  const auto far_end = FarEnd();
  constexpr uint32_t kFrames = 3000;
  for (uint32_t i = 0; i < kFrames; ++i) sender_->Queue(p0_, Frame(i, 60 + i % 1400));
  ExpectOutcome(sender_->Flush(), kFrames, 0, 0, 0);
  for (uint32_t i = 0; i < kFrames; ++i) ASSERT_EQ(far_end.Receive(), Frame(i, 60 + i % 1400)) << i;
  ExpectOutcome(sender_->Flush(), 0, 0, 0, 0);  // told once
}

TEST_F(PacketSenderTest, SendsTagsAndUnfinishedChecksumsAsTheyAre) {
  const auto far_end = FarEnd();
  for (const auto& [name, spec] : reference::NamedPackets()) {
    Bytes frame = reference::Build(spec);
    frame.back() ^= 1;
    sender_->Queue(p0_, frame);
    ExpectOutcome(sender_->Flush(), 1, 0, 0, 0);
    EXPECT_EQ(far_end.Receive(), frame) << name;
  }
}

TEST_F(PacketSenderTest, SendsAsMuchAsTheMtuHolds) {
  here_->Ip({"link", "set", "p0", "mtu", "9000"});
  there_->Ip({"link", "set", "eth0", "mtu", "9000"});
  const auto far_end = FarEnd();
  sender_->Queue(p0_, Frame(1, 9014));
  sender_->Queue(p0_, Frame(2, 9015));
  sender_->Queue(p0_, Frame(3, 65535));
  sender_->Queue(p0_, Frame(4));
  ExpectOutcome(sender_->Flush(), 2, 2, EMSGSIZE, p0_);
  EXPECT_EQ(far_end.Receive(), Frame(1, 9014));
  EXPECT_EQ(far_end.Receive(), Frame(4));
}

TEST_F(PacketSenderTest, LeavesOutWhatFails) {
  const test::Veth second({here_.get(), "p1"}, {there_.get(), "eth1"});
  const int p1 = static_cast<int>(second.IfIndexA());
  here_->Ip({"link", "set", "p1", "down"});
  constexpr int kGone = 0x7ffffff0;
  const auto far_end = FarEnd();
  sender_->Queue(p0_, Frame(1));
  sender_->Queue(p1, Frame(2));
  sender_->Queue(kGone, Frame(3));
  sender_->Queue(p0_, Bytes(13));
  sender_->Queue(p0_, Frame(4));
  ExpectOutcome(sender_->Flush(), 2, 3, ENETDOWN, p1);
  EXPECT_EQ(far_end.Receive(), Frame(1));
  EXPECT_EQ(far_end.Receive(), Frame(4));

  sender_->Queue(kGone, Frame(5));
  ExpectOutcome(sender_->Flush(), 0, 1, ENXIO, kGone);
  sender_->Queue(p0_, Bytes{});
  ExpectOutcome(sender_->Flush(), 0, 1, EINVAL, p0_);
  // It was down, it is not any more.
  here_->Ip({"link", "set", "p1", "up"});
  const test::PacketSocket far_end1(*there_, "eth1");
  sender_->Queue(p1, Frame(6));
  ExpectOutcome(sender_->Flush(), 1, 0, 0, 0);
  EXPECT_EQ(far_end1.Receive(), Frame(6));
}

TEST_F(PacketSenderTest, SaysSoWhereTheDeviceWentAway) {
  veth_.reset();
  for (uint32_t i = 0; i < 600; ++i) sender_->Queue(p0_, Frame(i));
  ExpectOutcome(sender_->Flush(), 0, 600, ENXIO, p0_);
}

}  // namespace
}  // namespace sluice::xdp
