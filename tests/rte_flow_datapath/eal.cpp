// SPDX-License-Identifier: Apache-2.0
// DPDK, once for the process.
#include <gtest/gtest.h>
#include <rte_eal.h>
#include <rte_errno.h>
#include <sched.h>
#include <unistd.h>

#include <string>
#include <vector>

namespace {

class Eal : public ::testing::Environment {
 public:
  void SetUp() override {
    cpu_set_t before;
    sched_getaffinity(0, sizeof before, &before);
    const std::string prefix = "sluice_loop_test_" + std::to_string(getpid());
    std::vector<std::string> words{"test", "--no-huge", "--no-shconf", "--no-pci",    "--no-telemetry", "--file-prefix",
                                   prefix, "-m",        "256",         "--log-level", "error"};
    std::vector<char*> arguments;
    for (std::string& word : words) arguments.push_back(word.data());
    ASSERT_GE(rte_eal_init(static_cast<int>(arguments.size()), arguments.data()), 0) << rte_strerror(rte_errno);
    // It pins the thread that calls it.
    sched_setaffinity(0, sizeof before, &before);
  }
  void TearDown() override { rte_eal_cleanup(); }
};

[[maybe_unused]] const auto* const eal = ::testing::AddGlobalTestEnvironment(new Eal);

}  // namespace
