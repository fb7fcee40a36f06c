// SPDX-License-Identifier: Apache-2.0
// Loading objects, and what is said where that fails.
#include "object.h"

#include <gtest/gtest.h>
#include <linux/capability.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <thread>

#include "table_rig.h"

namespace sluice::xdp {
namespace {

ObjectOptions With(const std::string& path) {
  ObjectOptions options;
  options.path = path;
  return options;
}

size_t OpenFds() {
  size_t n = 0;
  for ([[maybe_unused]] const auto& entry : std::filesystem::directory_iterator("/proc/self/fd")) ++n;
  return n;
}

std::string Maps() {
  std::ifstream file("/proc/self/maps");
  std::string text((std::istreambuf_iterator<char>(file)), {});
  size_t n = 0;
  for (size_t at = text.find("bpf-map"); at != std::string::npos; at = text.find("bpf-map", at + 1)) ++n;
  return std::to_string(n) + " BPF mappings";
}

TEST(Object, TellsItsKeyByName) {
  auto object = Object::Load(With(SLUICE_TEST_OBJECT));
  ASSERT_TRUE(object) << object.error().detail;
  const KeyLayout& layout = (*object)->key_layout();
  EXPECT_EQ(layout.size, 72);
  EXPECT_TRUE(layout.Has(Field::eth_src));
  EXPECT_FALSE(layout.Has(Field::in_port));
  EXPECT_FALSE(layout.Has(Field::nd_target));
  const KeyMember v4 = layout.members[static_cast<size_t>(Field::ipv4_src)];
  const KeyMember v6 = layout.members[static_cast<size_t>(Field::ipv6_src)];
  EXPECT_EQ(v4.offset, v6.offset);
  EXPECT_EQ(v4.size, 4);
  EXPECT_EQ(v6.size, 16);
  EXPECT_EQ(layout.FieldNames().size(), 36);
}

size_t Threads() {
  size_t n = 0;
  for ([[maybe_unused]] const auto& entry : std::filesystem::directory_iterator("/proc/self/task")) ++n;
  return n;
}

TEST(Object, LeavesNothingBehind) {
  std::thread([] {}).join();  // a sanitizer starts a thread of its own with the first one
  const size_t fds = OpenFds();
  const size_t threads = Threads();
  const std::string maps = Maps();
  {
    TableRig rig;
    rig.Put("eth_type(0x0800)", "1,2");
    rig.Put("eth_type(0x0806)", "1");
    EXPECT_NE(OpenFds(), fds);
    EXPECT_NE(Maps(), maps);
  }
  EXPECT_EQ(OpenFds(), fds);
  EXPECT_EQ(Maps(), maps);
  // The kernel lists a joined thread for a moment yet.
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(5);
  while (Threads() != threads && std::chrono::steady_clock::now() < end) std::this_thread::yield();
  EXPECT_EQ(Threads(), threads);
}

TEST(Object, MissingFileIsNamed) {
  const auto object = Object::Load(With("/nonexistent/sluice.bpf.o"));
  ASSERT_FALSE(object);
  EXPECT_EQ(object.error().reason, "no_such_object");
  EXPECT_NE(object.error().detail.find("/nonexistent/sluice.bpf.o"), std::string::npos);
}

TEST(Object, SomethingElseIsRefused) {
  const auto object = Object::Load(With("/proc/self/exe"));
  ASSERT_FALSE(object);
  EXPECT_EQ(object.error().reason, "bad_object");
}

TEST(Object, WithoutTheContractIsRefused) {
  const auto object = Object::Load(With(SLUICE_TEST_NO_CONTRACT));
  ASSERT_FALSE(object);
  EXPECT_EQ(object.error().reason, "bad_object");
  EXPECT_NE(object.error().detail.find(".sluice_meta"), std::string::npos) << object.error().detail;
}

TEST(Object, VerifierIsQuoted) {
  const auto object = Object::Load(With(SLUICE_TEST_REFUSED));
  ASSERT_FALSE(object);
  EXPECT_EQ(object.error().reason, "verifier");
  EXPECT_NE(object.error().detail.find("invalid access to packet"), std::string::npos) << object.error().detail;
  EXPECT_LT(object.error().detail.size(), 2000);
}

TEST(Object, SizesAreChecked) {
  ObjectOptions options = With(SLUICE_TEST_OBJECT);
  options.max_flows = 0;
  EXPECT_EQ(Object::Load(options).error().reason, "bad_option");
  options.max_flows = SLUICE_MAX_FLOWS + 1;
  EXPECT_EQ(Object::Load(options).error().reason, "bad_option");
  options.max_flows = 1;
  options.cache_entries = 1000;
  const auto object = Object::Load(options);
  ASSERT_FALSE(object);
  EXPECT_NE(object.error().detail.find("cache_entries"), std::string::npos);
  options.cache_entries = 64;
  EXPECT_TRUE(Object::Load(options));
}

// In a child, which is then without `capability`: what Load says.
std::string LoadWithout(const std::vector<int>& capabilities) {
  int ends[2];
  if (pipe(ends) != 0) return "pipe";
  const pid_t child = fork();
  if (child == 0) {
    __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
    __user_cap_data_struct data[2]{};
    syscall(SYS_capget, &header, data);
    for (const int capability : capabilities) data[CAP_TO_INDEX(capability)].effective &= ~CAP_TO_MASK(capability);
    syscall(SYS_capset, &header, data);
    const auto object = Object::Load(With(SLUICE_TEST_OBJECT));
    const std::string said = object ? "loaded" : object.error().reason + ": " + object.error().detail;
    [[maybe_unused]] const ssize_t written = write(ends[1], said.data(), said.size());
    _exit(0);
  }
  close(ends[1]);
  char said[4096];
  const ssize_t n = read(ends[0], said, sizeof said);
  close(ends[0]);
  waitpid(child, nullptr, 0);
  return {said, static_cast<size_t>(std::max<ssize_t>(n, 0))};
}

TEST(Object, MissingCapabilitiesAreNamed) {
  const std::string both = LoadWithout({CAP_BPF, CAP_PERFMON, CAP_NET_ADMIN, CAP_SYS_ADMIN});
  EXPECT_TRUE(both.starts_with("no_permission")) << both;
  EXPECT_NE(both.find("CAP_BPF"), std::string::npos) << both;
  EXPECT_NE(both.find("CAP_NET_ADMIN"), std::string::npos) << both;
  const std::string net = LoadWithout({CAP_NET_ADMIN, CAP_SYS_ADMIN});
  EXPECT_TRUE(net.starts_with("no_permission")) << net;
  EXPECT_NE(net.find("CAP_NET_ADMIN"), std::string::npos) << net;
  EXPECT_EQ(net.find("CAP_BPF"), std::string::npos) << net;
  EXPECT_EQ(LoadWithout({CAP_SYS_ADMIN}), "loaded");
}

TEST(Object, FragsProgramLoads) {
  ObjectOptions options = With(SLUICE_TEST_OBJECT);
  options.frags = true;
  TableRig rig(options);
  rig.Put("eth_type(0x0800)", "1", 0, 3);
  rig.Run(UdpFrame(1));
  EXPECT_EQ(rig.Stats()[3].bytes, 64);
}

}  // namespace
}  // namespace sluice::xdp
