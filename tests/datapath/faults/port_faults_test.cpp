// SPDX-License-Identifier: Apache-2.0
// Opening a port, and a flow of all ports, with their first, second, ... system call failing.
#include <gtest/gtest.h>

#include <cerrno>
#include <filesystem>

#include "faults.h"
#include "handler_rig.h"
#include "table_rig.h"

namespace sluice::xdp {
namespace {

class PortFaults : public testing::Test {
 protected:
  void SetUp() override {
    if (const auto why = test::WhyNoKernelTests(); !why.empty()) GTEST_SKIP() << why;
  }
  static size_t OpenFiles() {
    size_t count = 0;
    for ([[maybe_unused]] const auto& file : std::filesystem::directory_iterator("/proc/self/fd")) ++count;
    return count;
  }
};

TEST_F(PortFaults, PortIsOpenedOrLeftAsItWas) {
  const test::Netns netns;
  netns.Do([&] {
    HandlerRig rig(netns, 1);
    const auto add = [&] {
      v1::Port& port = *rig.batch().add_changes()->mutable_port_put();
      port.set_name("p1");
      port.set_number(1);
      (*port.mutable_options())["miss"] = "upcall";
      const auto reply = rig.Send();
      EXPECT_EQ(reply.ports_size(), 1);
      return reply.ports(0);
    };
    const auto remove = [&] {
      rig.DeletePort(1);
      rig.Send();
      rig.Drain();
    };
    remove();
    const size_t files = OpenFiles();
    const std::string untouched = netns.Ip({"-d", "link", "show", "p1"});
    unsigned failures = 0;
    for (unsigned nth = 1;; ++nth) {
      test::FailCall(nth, ENOMEM);
      const v1::Port port = add();
      const std::string call = test::StopFailing();
      SCOPED_TRACE("call " + std::to_string(nth) + " (" + call + ")");
      if (port.state() != "up") {
        ++failures;
        EXPECT_EQ(port.state(), "failed");
        EXPECT_NE(port.detail().find("annot allocate memory"), std::string::npos) << port.detail();
        rig.Drain();
        EXPECT_EQ(OpenFiles(), files) << port.detail();
        EXPECT_EQ(netns.Ip({"-d", "link", "show", "p1"}), untouched);
        const uint64_t flow = rig.Put(1, "in_port(1)", "drop");
        rig.Send();
        EXPECT_EQ(rig.verdicts[flow].reason(), "no_such_port");
        EXPECT_EQ(add().state(), "up");
      }
      // The reserve of masks may be what failed: the first who needs it is told.
      uint64_t flow = rig.Put(1, "in_port(1)", "p1");
      rig.Send();
      rig.WaitUntil([&] { return rig.verdicts.contains(flow); });
      if (rig.verdicts[flow].state() != v1::INSTALLED) {
        EXPECT_NE(rig.verdicts[flow].detail().find("annot allocate memory"), std::string::npos);
        flow = rig.Put(1, "in_port(1)", "p1");
        rig.Send();
        rig.WaitUntil([&] { return rig.verdicts.contains(flow); });
      }
      EXPECT_EQ(rig.verdicts[flow].state(), v1::INSTALLED) << rig.verdicts[flow].detail();
      remove();
      EXPECT_EQ(OpenFiles(), files);
      EXPECT_EQ(netns.Ip({"-d", "link", "show", "p1"}), untouched);
      if (call.empty()) break;
      ASSERT_LT(nth, 300);
    }
    EXPECT_GT(failures, 10);
  });
}

TEST_F(PortFaults, FlowOfEveryPortIsInAllOrInNone) {
  const test::Netns netns;
  netns.Do([&] {
    HandlerRig rig(netns, 3);
    const auto served = [&] {
      std::vector<std::optional<uint16_t>> vids;
      for (unsigned port = 1; port <= 3; ++port) {
        vids.push_back(RunProgram(rig.program_fd(port), UdpFrame(0x0a010001)).vid());
      }
      return vids;
    };
    const std::vector<std::optional<uint16_t>> none(3);
    const std::vector<std::optional<uint16_t>> all(3, 5);
    unsigned failures = 0;
    for (unsigned nth = 1;; ++nth) {
      // Twice: what does not go in as a batch is tried one by one. EPERM is no passing lack of memory.
      test::FailCall(nth, EPERM, true);
      const uint64_t put = rig.Put(1, "eth_type(0x0800),ipv4(dst=10.1.0.1)", "push_vlan(vid=5,pcp=0),p1");
      rig.Send();
      rig.WaitUntil([&] { return rig.verdicts.contains(put); });
      const std::string call = test::StopFailing();
      SCOPED_TRACE("call " + std::to_string(nth) + " (" + call + ")");
      if (rig.verdicts[put].state() == v1::INSTALLED) {
        EXPECT_EQ(served(), all);
      } else {
        ++failures;
        EXPECT_NE(rig.verdicts[put].detail().find("port p"), std::string::npos) << rig.verdicts[put].detail();
        EXPECT_EQ(served(), none);
      }
      rig.Delete(1);
      rig.Send();
      rig.Drain();
      EXPECT_EQ(served(), none);
      for (unsigned port = 1; port <= 3; ++port) {
        rig.Tick();
        EXPECT_EQ(rig.Counter(port, "flows"), 0);
      }
      if (call.empty()) break;
      ASSERT_LT(nth, 100);
    }
    EXPECT_GE(failures, 3);
  });
}

}  // namespace
}  // namespace sluice::xdp
