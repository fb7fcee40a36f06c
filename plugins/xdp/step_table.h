// SPDX-License-Identifier: Apache-2.0
// Which entries of map `steps` are taken (bpf/pass.h). Equal steps are one entry, however many flows lead to it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>

#include "pass.h"
#include "sluice/error.h"

namespace sluice::xdp {

// An entry, and what its terminal refers to. Lives as long as somebody holds it: flow tables hold it until no packet
// can be on its way to it any more.
struct Step {
  uint32_t index = 0;
  std::shared_ptr<const void> next;
};

// Session thread. Steps may outlive it, not the map's memory.
class StepTable {
 public:
  // `steps`: the mapped map.
  explicit StepTable(std::span<sluice_step> steps);

  // The entry that is like `step`, or a new one. `next` stays as long as the entry; the same content has the same next.
  // Errors: "table_full".
  Result<std::shared_ptr<const Step>> Acquire(const sluice_step& step, std::shared_ptr<const void> next);
  [[nodiscard]] size_t in_use() const;
  void ForEach(const std::function<void(const sluice_step& step)>& call) const;
  // Grows with each entry that is taken.
  [[nodiscard]] uint64_t taken() const { return taken_; }

 private:
  struct State;  // what the deleters of the steps share
  std::shared_ptr<State> state_;
  uint64_t taken_ = 0;
};

}  // namespace sluice::xdp
