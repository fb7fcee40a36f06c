// SPDX-License-Identifier: Apache-2.0
// The datapath under test with its later passes: the objects, tables and compiler of the XDP plugin on two ports of the
// rig and on tunnel ports, without its session.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "af_xdp.h"
#include "compare/pass_scenario.h"
#include "compare/rig.h"
#include "flow_table.h"
#include "groups.h"
#include "passes.h"
#include "reclaimer.h"
#include "reference/datapath.h"
#include "step_table.h"

namespace sluice::compare {

struct PassUpcall {
  uint32_t reason = 0;             // enum sluice_upcall_reason, without SLUICE_UPCALL_PASS
  std::optional<uint64_t> cookie;  // of the flow behind it, reason SLUICE_UPCALL_ACTION
  std::optional<Match> beside;     // of a later pass: what it was told beside the frame, without what is 0
  reference::Bytes frame;
};

// What one packet did.
struct PassObserved {
  std::vector<reference::Emission> emissions;
  std::vector<PassUpcall> upcalls;
  std::map<std::string, uint64_t>
      counters;                        // by how much which one grew; of later passes with "pass_" where both have it
  std::map<uint64_t, uint64_t> flows;  // packets by cookie
};

class PassSubject : xdp::FlowTable::Listener {
 public:
  static constexpr uint32_t kIngressPorts = 2;  // ports 1 and 2 have programs

  // Throws std::runtime_error.
  PassSubject(Rig& rig, sluice_miss_policy miss_policy);
  ~PassSubject() override;
  PassSubject(const PassSubject&) = delete;
  PassSubject& operator=(const PassSubject&) = delete;

  [[nodiscard]] const std::string& why_no_ct() const { return passes_->why_no_ct(); }
  [[nodiscard]] bool HasZones() const { return passes_->HasZones(); }

  // `cookie` names the flow from now on.
  Result<void> Put(const reference::Flow& flow, uint64_t cookie);
  void Delete(uint64_t cookie);
  // Flows and connections.
  void Clear();
  // Another generation of the later passes' programs and tables, with the same flows, takes the place of this one.
  Result<void> Reload();

  PassObserved Run(uint32_t port, const reference::Bytes& frame);

 private:
  struct Port {
    std::unique_ptr<xdp::Object> object;
    std::unique_ptr<xdp::FlowTable> table;
    std::unique_ptr<xdp::XskSocket> socket;
    std::map<uint64_t, xdp::FlowId> flows;
    xdp::Object::Counters counters;
    xdp::PassObject::Counters pass_counters;
  };

  void OnReclaimed(uint64_t /*cookie*/, const xdp::FlowStatsDelta& /*rest*/) override {}
  void LoadPasses();
  void LoadPort(uint32_t number, sluice_miss_policy miss_policy);
  Result<void> PutInto(const xdp::ObjectMeta& meta, xdp::FlowTable& table, std::map<uint64_t, xdp::FlowId>& flows,
                       const Match& match, const reference::Flow& flow, uint64_t cookie);
  void ForgetEchoes() const;
  void Count(Port& port, uint32_t number, PassObserved& observed);
  void TakeUpcalls(Port& port, PassObserved& observed);

  Rig& rig_;
  std::unique_ptr<xdp::Reclaimer> reclaimer_;
  std::unique_ptr<xdp::Groups> groups_;
  std::unique_ptr<xdp::PassMaps> maps_;
  std::unique_ptr<xdp::StepTable> steps_;
  std::unique_ptr<xdp::PassObject> passes_;
  std::unique_ptr<xdp::FlowTable> pass_table_;
  std::map<uint64_t, xdp::FlowId> pass_flows_;
  std::map<uint64_t, reference::Flow> flows_;
  std::map<uint32_t, xdp::TunnelPort> tunnels_;
  std::map<uint32_t, Port> ports_;
};

}  // namespace sluice::compare
