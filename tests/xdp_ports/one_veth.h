// SPDX-License-Identifier: Apache-2.0
// A device to work on: p0 in `here_`, whose other end is eth0 in `there_`.
#pragma once

#include <gtest/gtest.h>

#include <memory>

#include "support/netns.h"
#include "support/veth.h"

namespace sluice::test {

class OneVeth : public testing::Test {
 protected:
  void SetUp() override {
    if (const auto why = WhyNoKernelTests(); !why.empty()) GTEST_SKIP() << why;
    here_ = std::make_unique<Netns>("slp");
    there_ = std::make_unique<Netns>("slp");
    veth_ = std::make_unique<Veth>(VethEnd{here_.get(), "p0"}, VethEnd{there_.get(), "eth0"});
  }

  std::unique_ptr<Netns> here_;
  std::unique_ptr<Netns> there_;
  std::unique_ptr<Veth> veth_;
};

}  // namespace sluice::test
