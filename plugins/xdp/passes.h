// SPDX-License-Identifier: Apache-2.0
// Passes after the first, of all ports: the maps that stay, and the programs of one generation with their flow table.
// bpf/pass.h tells what a pass is. All of it belongs to the session thread.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "counters.h"
#include "mapping.h"
#include "object.h"
#include "pass.h"
#include "sluice/error.h"
#include "sluice/unique_fd.h"

namespace sluice::xdp {

// What a plugin says in its capabilities that it provides: the path of an object with programs for later passes.
inline constexpr const char* kProvidesPasses = "xdp.passes";

// What all ports and generations share. Everything in it is written by the owner of this, but the prog arrays, which
// PassObject::Enter fills, and the state, which is the programs' own.
class PassMaps {
 public:
  // Errors: "system" (naming the map), "no_permission".
  static Result<std::unique_ptr<PassMaps>> Create();
  PassMaps(const PassMaps&) = delete;
  PassMaps& operator=(const PassMaps&) = delete;

  // For ObjectOptions::programs_fd and state_fd, and for pins. `frags`: for objects that take packets of several
  // buffers.
  [[nodiscard]] int programs_fd(bool frags) const { return frags ? frags_programs_.get() : programs_.get(); }
  [[nodiscard]] int state_fd() const { return state_.get(); }
  [[nodiscard]] int steps_fd() const { return steps_.get(); }
  [[nodiscard]] int ports_fd() const { return ports_.get(); }
  // XSKMAP; entries as sluice_pass_port::xsk_base says.
  [[nodiscard]] int xsks_fd() const { return xsks_.get(); }
  // SLUICE_STEPS entries. One is written whole before a record refers to it, and stays until a grace period after the
  // last such record is gone.
  [[nodiscard]] std::span<sluice_step> steps() const { return {steps_memory_.As<sluice_step>(), SLUICE_STEPS}; }
  // SLUICE_PASS_PORTS entries, by pass slot.
  [[nodiscard]] std::span<sluice_pass_port> ports() const {
    return {ports_memory_.As<sluice_pass_port>(), SLUICE_PASS_PORTS};
  }

  // Empties the slots of both prog arrays. Who calls has seen to it that no packet is on its way there: records that
  // lead there are gone, and a grace period is over. Errors: "system".
  Result<void> Clear();

 private:
  PassMaps() = default;

  friend class PassObject;

  UniqueFd programs_, frags_programs_, state_, steps_, ports_, xsks_, echoes_;
  Mapping steps_memory_, ports_memory_;
};

// Entries of `xsks` that all ports share.
inline constexpr uint32_t kPassXsks = 16384;

struct PassOptions {
  std::string path;                // of the ELF file
  uint32_t max_flows = 65536;      // as in ObjectOptions
  uint32_t cache_entries = 65536;  // the same
  uint32_t depth = SLUICE_PASS_DEPTH;
  int ports_fd = -1;        // map `ports` of Groups
  int frags_ports_fd = -1;  // the same for packets of several buffers
  int groups_fd = -1;       // and its `groups`
};

// One generation of the programs, for packets of one buffer and for those of several, with one table for both.
class PassObject {
 public:
  // `maps` must outlive it. Errors: as Object::Load.
  static Result<std::unique_ptr<PassObject>> Load(const PassMaps& maps, const PassOptions& options);
  ~PassObject();
  PassObject(const PassObject&) = delete;
  PassObject& operator=(const PassObject&) = delete;

  // For MakeFlowTable, and what the programs can match and do: Can(SLUICE_ACTION_CT) only where this kernel has what
  // that takes.
  [[nodiscard]] Object& object() const { return *object_; }
  [[nodiscard]] const ObjectMeta& meta() const { return object_->meta(); }
  // Why there is no ct, for users; empty where there is.
  [[nodiscard]] const std::string& why_no_ct() const { return why_no_ct_; }
  // The program arrays by which packets go on inside this generation, to be pinned where it is to go on without us.
  [[nodiscard]] std::array<int, 2> tail_calls_fds() const {
    return {object_->MapFd("tail_calls"), frags_->MapFd("tail_calls")};
  }
  // Whether ct takes other zones than 0.
  [[nodiscard]] bool HasZones() const { return has_zones_; }

  // From now on packets that leave their first pass come here; those that are in another generation stay there to their
  // end, at the latest until a grace period has passed. Errors: "system"; some slots may then have been entered: call
  // it again, or Enter() of the generation before.
  Result<void> Enter();

  // Of packets that the port with this pass slot has received: sums over all CPUs.
  struct Counters {
    uint64_t values[SLUICE_PASS_COUNTER_SLOTS] = {};
    uint64_t operator[](sluice_counter counter) const { return values[counter]; }
    uint64_t operator[](sluice_pass_counter counter) const { return values[counter]; }
  };
  [[nodiscard]] Counters ReadCounters(uint32_t slot) const;
  // Names for what is in `values`: those of Object::CounterNames(), then, from SLUICE_PASS_COUNT_FIRST on, "tnl_popped"
  // and so on.
  static const std::vector<std::string>& CounterNames();
  // Zero again, for another port's use of the slot: no packet of the old port is under way any more.
  void ClearCounters(uint32_t slot);

 private:
  PassObject() = default;

  const PassMaps* maps_ = nullptr;
  std::unique_ptr<Object> object_;  // packets of one buffer
  std::unique_ptr<Object> frags_;   // those of several, with the first one's maps
  std::string why_no_ct_;
  bool has_zones_ = false;
};

}  // namespace sluice::xdp
