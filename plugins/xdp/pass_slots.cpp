// SPDX-License-Identifier: Apache-2.0
#include "pass_slots.h"

#include <optional>
#include <string>

#include "edit_space.h"

namespace sluice::xdp {

struct PassSlot::State {
  State(PassMaps& the_maps, Reclaimer& the_reclaimer) : maps(the_maps), reclaimer(the_reclaimer) {}

  PassMaps& maps;
  Reclaimer& reclaimer;
  EditSpace slots{SLUICE_PASS_PORTS};  // ranges of one
  EditSpace xsks{kPassXsks};
};

PassSlot::~PassSlot() {
  State* state = state_.get();
  state->reclaimer.AfterGrace(state_, [state, index = index_, base = xsk_base_, queues = queues_] {
    state->slots.Give(index, 1);
    if (queues != 0) state->xsks.Give(base, queues);
  });
}

PassSlots::PassSlots(PassMaps& maps, Reclaimer& reclaimer)
    : state_(std::make_shared<PassSlot::State>(maps, reclaimer)) {}
PassSlots::~PassSlots() = default;

Result<std::unique_ptr<PassSlot>> PassSlots::Take(uint32_t queues, sluice_miss_policy miss,
                                                  uint32_t upcalls_per_window) {
  const auto index = state_->slots.Take(1);
  if (!index) {
    return Error{"table_full", "There are " + std::to_string(SLUICE_PASS_PORTS) + " ports, the most there can be"};
  }
  const auto base = queues == 0 ? std::optional<uint32_t>(0) : state_->xsks.Take(queues);
  if (!base) {
    state_->slots.Give(*index, 1);
    return Error{"table_full", "All ports together have more than " + std::to_string(kPassXsks) + " receive queues"};
  }
  std::unique_ptr<PassSlot> slot(new PassSlot);  // NOLINT(cppcoreguidelines-owning-memory): the constructor is private
  slot->state_ = state_;
  slot->index_ = *index;
  slot->xsk_base_ = *base;
  slot->queues_ = queues;
  sluice_pass_port& entry = state_->maps.ports()[*index];
  entry.miss_policy = miss;
  entry.upcalls_per_window = upcalls_per_window;
  entry.xsk_base = *base;
  entry.n_xsks = queues;
  return slot;
}

}  // namespace sluice::xdp
