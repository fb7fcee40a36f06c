// SPDX-License-Identifier: Apache-2.0
// The ports of which later passes know: an entry of `pass_ports` each, and a range of the XSK map that they share.
#pragma once

#include <cstdint>
#include <memory>

#include "passes.h"
#include "reclaimer.h"
#include "sluice/error.h"

namespace sluice::xdp {

// A port's place. Destroyed, it is another port's no earlier than a grace period later. Session thread.
class PassSlot {
 public:
  ~PassSlot();
  PassSlot(const PassSlot&) = delete;
  PassSlot& operator=(const PassSlot&) = delete;

  [[nodiscard]] uint32_t index() const { return index_; }
  // Of the port's receive queue 0; the others follow.
  [[nodiscard]] uint32_t xsk_base() const { return xsk_base_; }

 private:
  friend class PassSlots;
  struct State;
  PassSlot() = default;

  std::shared_ptr<State> state_;
  uint32_t index_ = 0;
  uint32_t xsk_base_ = 0;
  uint32_t queues_ = 0;
};

class PassSlots {
 public:
  // Both outlive this and all slots.
  PassSlots(PassMaps& maps, Reclaimer& reclaimer);
  ~PassSlots();
  PassSlots(const PassSlots&) = delete;
  PassSlots& operator=(const PassSlots&) = delete;

  // Errors: "table_full".
  Result<std::unique_ptr<PassSlot>> Take(uint32_t queues, sluice_miss_policy miss, uint32_t upcalls_per_window);

 private:
  std::shared_ptr<PassSlot::State> state_;
};

}  // namespace sluice::xdp
