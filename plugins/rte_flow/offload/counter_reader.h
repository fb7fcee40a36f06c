// SPDX-License-Identifier: Apache-2.0
// Reads the counters of a device's rules, whose habits it learns: whether it resets them when asked to.
#pragma once

#include <cstdint>
#include <string_view>

#include "flow_api.h"
#include "offloader.h"
#include "sluice/error.h"

namespace sluice::rteflow {

class CounterReader {
 public:
  explicit CounterReader(FlowApi& api) : api_(api) {}

  // What was counted since the last call for the rule. Errors: "not_counted" (and rule.counts is false from then on),
  // "device_failed".
  Result<OffloadCounts> Read(OffloadRule& rule);
  void Forget() { resets_ = Habit::kNotYetKnown; }
  // "yes", "no", "not yet known"
  [[nodiscard]] std::string_view Resets() const;

 private:
  enum class Habit : uint8_t { kNotYetKnown, kYes, kNo };

  // 0, or the errno of the driver.
  int Query(OffloadRule& rule, bool reset, rte_flow_query_count& count);
  static OffloadCounts Since(OffloadRule& rule, const rte_flow_query_count& count, bool reset);
  Result<OffloadCounts> Fail(OffloadRule& rule, int error) const;
  // Finds out by this rule, which has been read just now.
  void LearnBy(OffloadRule& rule, OffloadCounts& counts);

  FlowApi& api_;
  Habit resets_ = Habit::kNotYetKnown;
  const char* message_ = nullptr;  // of the last query that failed
};

}  // namespace sluice::rteflow
