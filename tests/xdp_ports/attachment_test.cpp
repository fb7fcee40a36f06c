// SPDX-License-Identifier: Apache-2.0
#include "attachment.h"

#include <gtest/gtest.h>

#include "af_xdp.h"
#include "capabilities.h"
#include "kept_state.h"
#include "one_veth.h"
#include "system.h"
#include "trivial_program.h"

namespace sluice::xdp {
namespace {

bool Contains(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

class AttachmentTest : public test::OneVeth {
 protected:
  void SetUp() override {
    OneVeth::SetUp();
    if (IsSkipped() || HasFatalFailure()) return;
    program_ = test::LoadTrivialProgram("slp_test", XDP_PASS);
  }

  Result<Attachment> Attach(Mode mode, std::string* native_refusal = nullptr, const std::string& name = "p0") {
    Result<Attachment> result = Error{};
    here_->Do([&] { result = Attachment::Attach(*QueryDevice(name), program_.get(), mode, native_refusal); });
    return result;
  }
  Device Query() {
    Device device;
    here_->Do([&] { device = *QueryDevice("p0"); });
    return device;
  }

  UniqueFd program_;
};

TEST_F(AttachmentTest, AttachesInTheModeAskedForAndLetsGo) {
  for (const auto& [asked, got] : {std::pair{Mode::kAuto, Mode::kNative}, std::pair{Mode::kNative, Mode::kNative},
                                   std::pair{Mode::kGeneric, Mode::kGeneric}}) {
    const auto attachment = Attach(asked);
    ASSERT_TRUE(attachment) << attachment.error().detail;
    EXPECT_EQ(attachment->mode(), got);
    EXPECT_EQ(Query().program_mode, ToString(got));
  }
  EXPECT_EQ(Query().program_id, 0U);
}

TEST_F(AttachmentTest, LeavesTheProgramOfAnother) {
  const auto other = test::LoadTrivialProgram("other_tool", XDP_DROP);
  here_->Do([&] { test::AttachByNetlink(static_cast<int>(veth_->IfIndexA()), other.get()); });
  const auto before = Query().program_id;
  for (const Mode mode : {Mode::kAuto, Mode::kNative, Mode::kGeneric}) {
    const auto attachment = Attach(mode);
    ASSERT_FALSE(attachment);
    EXPECT_EQ(attachment.error().reason, "busy");
    EXPECT_TRUE(Contains(attachment.error().detail, "p0 has an XDP program already: 'other_tool' (id "))
        << attachment.error().detail;
  }
  EXPECT_EQ(Query().program_id, before);
}

TEST_F(AttachmentTest, SaysThatADriverOffersNoOffload) {
  const auto attachment = Attach(Mode::kOffload);
  ASSERT_FALSE(attachment);
  EXPECT_TRUE(Contains(attachment.error().detail, "attaching XDP to p0 in offload mode")) << attachment.error().detail;
  EXPECT_TRUE(Contains(attachment.error().detail, "(veth) offers no XDP offload")) << attachment.error().detail;
}

TEST_F(AttachmentTest, DoesNotTryWhatTheDriverSaysItCannotDo) {
  Device device;
  here_->Do([&] { device = *QueryDevice("lo"); });
  if (!device.xdp_features) GTEST_SKIP() << "this kernel does not tell the XDP features of devices";
  const auto native = Attach(Mode::kNative, nullptr, "lo");
  ASSERT_FALSE(native);
  EXPECT_TRUE(Contains(native.error().detail, ") offers no native XDP")) << native.error().detail;

  // Not even asked: a device that could is refused too, if it says that it cannot.
  here_->Do([&] {
    Device veth = *QueryDevice("p0");
    EXPECT_EQ(DescribeFeatures(*veth.xdp_features).substr(0, 14), "basic redirect");
    veth.xdp_features = 0;
    EXPECT_FALSE(Attachment::Attach(veth, program_.get(), Mode::kNative, nullptr));
    veth.xdp_features.reset();  // a kernel that cannot be asked: try it
    EXPECT_TRUE(Attachment::Attach(veth, program_.get(), Mode::kNative, nullptr));
  });
}

TEST_F(AttachmentTest, NamesTheMtuThatIsTooLarge) {
  there_->Ip({"link", "set", "eth0", "mtu", "9000"});
  here_->Ip({"link", "set", "p0", "mtu", "9000"});
  const auto native = Attach(Mode::kNative);
  ASSERT_FALSE(native);
  EXPECT_TRUE(Contains(native.error().detail, "MTU is 9000")) << native.error().detail;
  EXPECT_TRUE(Contains(native.error().detail, "at most 3498")) << native.error().detail;

  std::string why;
  const auto fallback = Attach(Mode::kAuto, &why);
  ASSERT_TRUE(fallback) << fallback.error().detail;
  EXPECT_EQ(fallback->mode(), Mode::kGeneric);
  EXPECT_TRUE(Contains(why, "in native mode")) << why;
}

TEST_F(AttachmentTest, NamesTooFewQueues) {
  here_->Ip({"link", "add", "q0", "numrxqueues", "1", "numtxqueues", "1", "type", "veth", "peer", "name", "q1",
             "numrxqueues", "4", "numtxqueues", "4"});
  const auto attachment = Attach(Mode::kNative, nullptr, "q0");
  ASSERT_FALSE(attachment);
  EXPECT_TRUE(Contains(attachment.error().detail, "q0") && Contains(attachment.error().detail, "1 receive queues"))
      << attachment.error().detail;
}

TEST_F(AttachmentTest, CanBePinnedFoundAgainAndReplaced) {
  if (const auto bpffs = EnsureBpffs(); !bpffs) GTEST_SKIP() << bpffs.error().detail;
  const std::string pin = "/sys/fs/bpf/slp_test_" + std::to_string(getpid());
  const auto first = Query().program_id;
  {
    const auto attachment = Attach(Mode::kNative);
    ASSERT_TRUE(attachment);
    const auto pinned = attachment->Pin(pin);
    ASSERT_TRUE(pinned) << pinned.error().detail;
  }
  EXPECT_NE(Query().program_id, first);
  {
    const auto device = Query();
    const auto found = Attachment::FromPin(pin, device);
    unlink(pin.c_str());
    ASSERT_TRUE(found) << found.error().detail;
    EXPECT_EQ(found->mode(), Mode::kNative);
    const auto next = test::LoadTrivialProgram("slp_next", XDP_PASS);
    EXPECT_TRUE(found->Replace(next.get(), "p0"));
    EXPECT_NE(Query().program_id, device.program_id);
    EXPECT_NE(Query().program_id, 0U);
  }
  EXPECT_EQ(Query().program_id, 0U);
  EXPECT_FALSE(Attachment::FromPin(pin, Query()));
}

TEST_F(AttachmentTest, NamesTheCapabilityThatIsMissing) {
  std::string socket;
  here_->Do([&] {
    socket = test::WithCapabilities(0, [] {
      const auto opened = XskSocket::Open("p0", 0);
      return opened ? "opened" : opened.error().detail;
    });
  });
  EXPECT_TRUE(Contains(socket, "sluiced runs without CAP_NET_RAW")) << socket;
}

}  // namespace
}  // namespace sluice::xdp
