// SPDX-License-Identifier: Apache-2.0
// Things to do later, on the loop's thread. Not for the path of flows.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <utility>

#include "clock.h"

namespace sluice::core {

class Timers {
 public:
  using Id = std::pair<uint64_t, uint64_t>;  // {0, 0}: none

  explicit Timers(Clock clock) : clock_(std::move(clock)) {}

  Id After(uint64_t delay_ms, std::function<void()> call) {
    const Id id{clock_() + delay_ms * 1'000'000, ++count_};
    calls_.emplace(id, std::move(call));
    return id;
  }
  void Cancel(Id& id) {
    calls_.erase(id);
    id = {};
  }
  void Run() {
    const uint64_t now = clock_();
    while (!calls_.empty() && calls_.begin()->first.first <= now) {
      auto call = calls_.extract(calls_.begin());
      call.mapped()();
    }
  }
  [[nodiscard]] std::optional<uint64_t> NextDeadline() const {
    if (calls_.empty()) return std::nullopt;
    return calls_.begin()->first.first;
  }
  [[nodiscard]] uint64_t Now() const { return clock_(); }

 private:
  Clock clock_;
  uint64_t count_ = 0;
  std::map<Id, std::function<void()>> calls_;
};

}  // namespace sluice::core
