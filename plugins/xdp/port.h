// SPDX-License-Identifier: Apache-2.0
// A port with its device there: the loaded object, its flow table, its AF_XDP sockets, and its hold on the device.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "af_xdp.h"
#include "attachment.h"
#include "device.h"
#include "flow_table.h"
#include "groups.h"
#include "kept_counts.h"
#include "kept_state.h"
#include "object.h"
#include "pass_tables.h"
#include "reclaimer.h"
#include "sluice/error.h"
#include "sluice/sluice.pb.h"

namespace sluice::xdp {

// plugins/xdp/README.md, "Ports", lists the options.
struct PortSettings {
  Mode mode = Mode::kAuto;
  sluice_miss_policy miss = SLUICE_MISS_UPCALL;
  uint32_t max_flows = 65536;
  uint32_t upcall_rate = 10000;
  bool upcall_match = true;  // upcalls tell their match
  std::string object;        // of the BPF object's file; empty: the default
  bool software = true;      // what XDP cannot do is done in user space
  uint32_t max_edits = 0;    // 0: four for each flow
  uint32_t cache = 65536;    // entries, a power of two
  bool replace = false;      // somebody else's program
  bool operator==(const PortSettings&) const = default;

  // Over `defaults`. Errors: "unknown_option", "bad_option", naming it.
  static Result<PortSettings> Parse(const std::map<std::string, std::string>& options, const PortSettings& defaults);
};

// "pass", "drop" or "upcall".
const char* PolicyName(sluice_miss_policy policy);

// The file of an `object` as PortSettings has it. `otherwise`: the default object's file.
std::string ObjectPath(const std::string& asked, const std::string& otherwise);

// What all ports of a plugin share. All outlives every Port.
struct PortContext {
  std::string object_path;
  Groups& groups;
  Reclaimer& reclaimer;
  FlowTable::Listener& listener;
  KeptState& kept;
  PassTables& passes;
};

// Session thread. Destroyed, it detaches its program and leaves `groups`, but turns no setting back: that is
// Withdraw's.
class Port {  // NOLINT(clang-analyzer-optin.performance.Padding): in the order in which they may go
 public:
  // Loads, attaches and prepares the device `name`, or fails with everything as before. Where a pin of an earlier
  // plugin still forwards on the device, that goes on until TakeOver.
  static Result<std::unique_ptr<Port>> Open(const PortContext& context, const std::string& name, uint32_t number,
                                            const PortSettings& settings);
  ~Port();
  Port(const Port&) = delete;
  Port& operator=(const Port&) = delete;

  [[nodiscard]] uint32_t number() const { return number_; }
  [[nodiscard]] const Device& device() const { return device_; }
  [[nodiscard]] const PortSettings& settings() const { return settings_; }
  [[nodiscard]] FlowTable& table() const { return *table_; }
  [[nodiscard]] const ObjectMeta& meta() const { return object_->meta(); }
  // Its table's.
  [[nodiscard]] uint64_t serial() const { return serial_; }

  // The device's link changed somehow. False: it is gone, or our program was taken off; *why says which.
  bool Refresh(std::string* why);
  // Its program was taken off by another than us.
  [[nodiscard]] bool HasLostItsProgram() const { return attachment_ && attachment_->IsLost(); }
  [[nodiscard]] bool IsTakingOver() const { return taking_over_; }
  // Flows are in: packets meet our program from now on. Nothing to do unless Open found a pin.
  Result<void> TakeOver(const std::string& epoch);
  // After TakeOver: what the earlier program counted on its own. Complete when all packets have left that one.
  [[nodiscard]] std::optional<KeptCounts> TakeKeptCounts() { return std::exchange(kept_counts_, std::nullopt); }
  // No packet meets our program any more.
  void Detach();
  // Undoes everything that adding the port did.
  Result<void> Withdraw();
  // Lets the program go on without us.
  Result<void> Keep();
  // It goes on, and counts, without us.
  [[nodiscard]] bool IsKept() const { return kept_; }

  // A packet as received here, through the program. Counts itself nowhere.
  Result<void> PacketOut(std::string_view packet);
  void CountPacketOut() { ++packet_out_; }
  void CountFailedPacketOut(uint64_t packets = 1) { packet_out_failed_ += packets; }
  // Counts as the program does, of a packet that was executed without it.
  void Count(sluice_counter counter, uint64_t by = 1) { soft_counts_.values[counter] += by; }
  // Takes an upcall that does not come from the program from a budget of the program's rate.
  bool MayUpcall();

  // AF_XDP.
  [[nodiscard]] const std::vector<std::unique_ptr<XskSocket>>& sockets() const { return sockets_; }

  void FillInfo(v1::Port& port) const;
  void FillCounters(v1::Port& port) const;

 private:
  void AddPasses(google::protobuf::Map<std::string, uint64_t>& counters) const;
  Port(const PortContext& context, std::string name, uint32_t number, const PortSettings& settings);
  Result<void> CheckFree();
  Result<void> Load();
  Result<void> JoinPasses();
  Result<void> OpenSockets();
  Result<void> Attach();
  Result<void> BecomeOutput();
  // Where somebody else's program is to be replaced: takes it off.
  Result<std::optional<Displaced>> Displace();
  void Prepare();

  PortContext context_;
  std::string name_;
  uint32_t number_;
  PortSettings settings_;
  uint64_t serial_;
  Device device_;
  bool frags_ = false;
  std::unique_ptr<Object> object_;
  std::unique_ptr<FlowTable> table_;
  std::unique_ptr<PassSlot> pass_slot_;  // nullptr: its program leads to no other pass
  PassObject::Counters passes_before_;   // of the slot, when it was another port's
  std::vector<std::unique_ptr<XskSocket>> sockets_;
  std::optional<Attachment> attachment_;
  std::string replaced_;
  bool taking_over_ = false;
  std::optional<KeptCounts> kept_counts_;
  bool is_output_ = false;
  bool kept_ = false;
  Preparation preparation_;
  std::vector<std::string> warnings_;
  Object::Counters soft_counts_;
  uint64_t upcall_window_ = 0;
  uint32_t upcalls_in_window_ = 0;
  uint64_t dropped_before_ = 0;  // by the device, before it was a port
  uint64_t packet_out_ = 0;
  uint64_t packet_out_failed_ = 0;
};

}  // namespace sluice::xdp
