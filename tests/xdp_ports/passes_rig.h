// SPDX-License-Identifier: Apache-2.0
// Two hosts, with the programs of later passes there.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "two_hosts.h"

namespace sluice::test {

class Passes : public TwoHosts {
 protected:
  // A flow that Again() tells.
  struct Told {
    std::string match, actions;
    uint32_t priority = 0;
  };

  // Loads the extension before anything else, as the core tells it.
  void SetUp() override {
    TwoHosts::SetUp();
    if (IsSkipped() || HasFatalFailure()) return;
    if (serial_ != 0) rig_->Extend(serial_);
  }
  v1::Verdict Put(const std::string& match, const std::string& actions, uint32_t priority = 0) {
    told_[match] = {match, actions, priority};
    return rig_->Put(match, actions, priority);
  }
  void MustPut(const std::string& match, const std::string& actions, uint32_t priority = 0) {
    const auto verdict = Put(match, actions, priority);
    EXPECT_EQ(verdict.state(), v1::INSTALLED)
        << match << " -> " << actions << ": " << verdict.reason() << ": " << verdict.detail();
  }
  // All that there is, as a core would at a resync. `state`: what is said of each flow.
  void Again(v1::OffloadState state = v1::INSTALLED, const PortOptions& options = {}) {
    rig_->Resync("e1");
    if (serial_ != 0) rig_->Extend(serial_);
    AddPorts(options);
    for (const auto& [match, told] : told_) {
      const auto verdict = rig_->Put(told.match, told.actions, told.priority);
      EXPECT_EQ(verdict.state(), state) << match << ": " << verdict.detail();
    }
    rig_->Synced();
  }
  // As WaitForCounter.
  std::map<std::string, uint64_t> Counters(const std::string& port, const std::string& counter, uint64_t least) {
    return rig_->WaitForCounter(port, counter, least);
  }

  uint64_t serial_ = 1;
  std::map<std::string, Told> told_;
};

}  // namespace sluice::test
