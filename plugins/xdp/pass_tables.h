// SPDX-License-Identifier: Apache-2.0
// The programs and tables of later passes: what another plugin brings, in one generation, or in two while one takes the
// place of the other.
//
// A generation with its flows takes over in one step: it is loaded, the core tells every flow anew, each is put into
// both, and when all are in (`synced`) the new programs are entered. Until then the old ones have the packets. When the
// plugin goes for good, every flow that needs the programs is refused as the core tells them anew; then no record leads
// to a slot, a grace period later no packet is on its way to one, and the slots are emptied.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "flow_table.h"
#include "groups.h"
#include "kept_counts.h"
#include "kept_state.h"
#include "pass_slots.h"
#include "passes.h"
#include "reclaimer.h"
#include "sluice/sluice.pb.h"
#include "step_table.h"

namespace sluice::xdp {

struct PassGeneration {
  uint64_t serial = 0;  // of its table, unlike any port's
  std::unique_ptr<PassObject> object;
  std::unique_ptr<FlowTable> table;  // goes first
};

// Session thread.
class PassTables {
 public:
  struct Settings {
    uint32_t max_flows = 65536;
    uint32_t cache = 65536;
    uint32_t depth = SLUICE_PASS_DEPTH;
  };
  struct Parts {
    Reclaimer& reclaimer;
    Groups& groups;
    FlowTable::Listener& listener;
    KeptState& kept;
    // Around a table's end, as in Ports::Told.
    std::function<void(FlowTable& table)> before;
    std::function<void()> after;
    std::function<void()> changed;                                // targets(), programs() or missing() have
    std::function<void(int level, const std::string& line)> log;  // enum sluice_log_level
  };
  PassTables(std::unique_ptr<PassMaps> maps, const Settings& settings, Parts parts);
  ~PassTables();
  PassTables(const PassTables&) = delete;
  PassTables& operator=(const PassTables&) = delete;

  [[nodiscard]] PassMaps& maps() const { return *maps_; }
  [[nodiscard]] StepTable& steps() { return steps_; }
  [[nodiscard]] PassSlots& slots() { return slots_; }

  // ---- What the core says.
  void OnExtension(const v1::Extension& extension);
  // A port or flow comes, or all have: extensions were told before.
  void OnChange();
  void OnResync();
  // Everything has to be in when OnSynced is called: nothing may be parked.
  [[nodiscard]] bool IsChanging() const { return next_ != nullptr || departing_; }
  // Flows that are not wanted any more are withdrawn.
  void OnSynced();
  // True once where the core is to tell everything anew.
  bool TakeResync() { return std::exchange(resync_, false); }

  // ---- For flows.
  // Where they are put: the old generation, if there are two, and then the new one, which decides. Empty: see
  // missing().
  [[nodiscard]] std::vector<const PassGeneration*> targets() const;
  // Those of the newest generation; nullptr: there are none, for the reason missing().
  [[nodiscard]] const PassObject* programs() const;
  [[nodiscard]] const Error& missing() const { return missing_; }
  // nullptr where it is gone.
  [[nodiscard]] FlowTable* BySerial(uint64_t serial) const;
  // All that packets may be in, or will.
  void ForEachTable(const std::function<void(FlowTable& table)>& call) const;
  // That which packets are in; nullptr: none.
  [[nodiscard]] const PassGeneration* current() const { return departed_ ? nullptr : current_.get(); }
  // Whether packets that come up may be of an older one.
  [[nodiscard]] bool IsDraining() const { return !draining_.empty(); }

  // Of packets that the port with this slot received, since the plugin's start. As PassObject::Counters.
  [[nodiscard]] PassObject::Counters CountersOf(uint32_t slot) const;

  // ---- Programs that go on without us.
  // Pins what they need beside the links of their ports. Nothing may be put or deleted afterwards.
  Result<void> Keep();
  // What the table counts from here on, for the next plugin.
  void WriteKept(const std::string& epoch, const std::vector<KeptFlow>& flows) const;
  // Of an earlier run's; nullopt: there are none.
  [[nodiscard]] std::optional<KeptCounts> OpenKept(const std::string& epoch) const;

 private:
  using Generation = std::unique_ptr<PassGeneration>;

  Result<Generation> Load(const std::string& path) const;
  void Arrive(const std::string& path);
  void Depart();
  void Drop(Generation generation);
  void DropDrained(uint64_t serial);
  void Clear(uint64_t serial);

  std::unique_ptr<PassMaps> maps_;
  Settings settings_;
  Parts parts_;
  StepTable steps_;
  PassSlots slots_;
  std::vector<PassObject::Counters> gone_;  // by slot: counted by generations that are no more

  std::string plugin_;      // that brings the programs; empty: none
  uint64_t serial_ = 0;     // of its coming
  bool confirmed_ = true;   // it was told since the last resync
  bool heard_ = false;      // a port or flow came since the last resync
  bool resync_ = false;     // is to be asked for
  bool retold_ = false;     // a resync began since next_ came, or the departure
  bool departing_ = false;  // current_ has flows, and takes no new ones
  bool departed_ = false;   // all are withdrawn
  Error missing_;
  Generation current_, next_;
  std::vector<Generation> draining_;  // packets may still be in them
  std::shared_ptr<int> alive_ = std::make_shared<int>();
};

}  // namespace sluice::xdp
