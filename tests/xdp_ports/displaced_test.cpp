// SPDX-License-Identifier: Apache-2.0
// Somebody else's program taken off a device: that one and no other.
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <gtest/gtest.h>
#include <linux/if_link.h>

#include <cerrno>
#include <system_error>

#include "attachment.h"
#include "one_veth.h"
#include "trivial_program.h"

namespace sluice::xdp {
namespace {

bool Contains(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

class DisplacedTest : public test::OneVeth {
 protected:
  void SetUp() override {
    OneVeth::SetUp();
    if (IsSkipped() || HasFatalFailure()) return;
    program_ = test::LoadTrivialProgram("other_tool", XDP_PASS);
  }
  static Device Query(const test::Netns& netns, const std::string& name = "p0") {
    Device device;
    netns.Do([&] { device = *QueryDevice(name); });
    return device;
  }
  static Result<Displaced> TakeOff(const test::Netns& netns, const Device& device) {
    Result<Displaced> result = Error{};
    netns.Do([&] { result = Displaced::TakeOff(device); });
    return result;
  }
  UniqueFd Link(const test::Netns& netns, const std::string& device, uint32_t flags = XDP_FLAGS_DRV_MODE) const {
    UniqueFd link;
    netns.Do([&] {
      LIBBPF_OPTS(bpf_link_create_opts, options);
      options.flags = flags;
      link = UniqueFd(bpf_link_create(program_.get(), QueryDevice(device)->ifindex, BPF_XDP, &options));
      if (!link) throw std::system_error(errno, std::generic_category(), "bpf_link_create");
    });
    return link;
  }

  UniqueFd program_;
};

TEST_F(DisplacedTest, TakesOffWhatNetlinkAttachedAndPutsItBack) {
  for (const uint32_t mode : {XDP_FLAGS_DRV_MODE, XDP_FLAGS_SKB_MODE}) {
    here_->Do([&] { ASSERT_EQ(bpf_xdp_attach(QueryDevice("p0")->ifindex, program_.get(), mode, nullptr), 0); });
    const Device before = Query(*here_);
    const auto displaced = TakeOff(*here_, before);
    ASSERT_TRUE(displaced) << displaced.error().detail;
    EXPECT_EQ(displaced->what(),
              "'other_tool' (id " + std::to_string(before.program_id) + "), in " + before.program_mode + " mode");
    EXPECT_EQ(Query(*here_).program_id, 0U);
    here_->Do([&] { EXPECT_TRUE(displaced->PutBack()); });
    EXPECT_EQ(Query(*here_).program_id, before.program_id);
    EXPECT_EQ(Query(*here_).program_mode, before.program_mode);
    ASSERT_TRUE(TakeOff(*here_, before));
  }
}

TEST_F(DisplacedTest, DetachesALinkAndLeavesThoseOfOtherDevices) {
  const test::Veth second({here_.get(), "p1"}, {there_.get(), "eth1"});
  const UniqueFd link = Link(*here_, "p0");
  const UniqueFd other = Link(*here_, "p1");
  const auto displaced = TakeOff(*here_, Query(*here_));
  ASSERT_TRUE(displaced) << displaced.error().detail;
  EXPECT_TRUE(Contains(displaced->what(), "in native mode, by bpf_link ")) << displaced->what();
  EXPECT_FALSE(displaced->PutBack());  // a link that is detached is so for good
  EXPECT_EQ(Query(*here_).program_id, 0U);
  EXPECT_NE(Query(*here_, "p1").program_id, 0U);
}

TEST_F(DisplacedTest, DoesNotHitAProgramThatCameInBetween) {
  const int ifindex = Query(*here_).ifindex;
  here_->Do([&] { test::AttachByNetlink(ifindex, program_.get()); });
  const Device seen = Query(*here_);
  const auto third = test::LoadTrivialProgram("third_tool", XDP_PASS);
  here_->Do([&] { test::AttachByNetlink(ifindex, third.get()); });
  const Device now = Query(*here_);
  ASSERT_NE(now.program_id, seen.program_id);
  const auto displaced = TakeOff(*here_, seen);
  ASSERT_FALSE(displaced);
  EXPECT_TRUE(Contains(displaced.error().detail, "taking 'other_tool'")) << displaced.error().detail;
  EXPECT_EQ(Query(*here_).program_id, now.program_id);
}

// Links are of the whole machine and name a device by its index alone, which another namespace's may have, too.
TEST_F(DisplacedTest, LeavesLinksAloneThatItCannotTellApart) {
  for (const auto* netns : {here_.get(), there_.get()}) {
    netns->Ip({"link", "add", "same", "index", "7777", "type", "veth", "peer", "name", "peer"});
  }
  const UniqueFd link = Link(*here_, "same", XDP_FLAGS_SKB_MODE);
  UniqueFd other = Link(*there_, "same", XDP_FLAGS_SKB_MODE);
  const Device device = Query(*here_, "same");
  const auto displaced = TakeOff(*here_, device);
  ASSERT_FALSE(displaced);
  EXPECT_EQ(displaced.error().reason, "busy");
  EXPECT_TRUE(Contains(displaced.error().detail, "differ by their network namespace")) << displaced.error().detail;
  EXPECT_EQ(Query(*here_, "same").program_id, device.program_id);
  EXPECT_EQ(Query(*there_, "same").program_id, device.program_id);

  // With the other attached by netlink there is one link, and it is not taken for that one's.
  other = UniqueFd();
  there_->Do([&] { ASSERT_EQ(bpf_xdp_attach(7777, program_.get(), XDP_FLAGS_SKB_MODE, nullptr), 0); });
  ASSERT_TRUE(TakeOff(*there_, Query(*there_, "same")));
  EXPECT_EQ(Query(*there_, "same").program_id, 0U);
  EXPECT_EQ(Query(*here_, "same").program_id, device.program_id);
}

}  // namespace
}  // namespace sluice::xdp
