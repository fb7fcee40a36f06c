// SPDX-License-Identifier: Apache-2.0
// The datapath under test: the XDP plugin's objects, tables and compiler on two ports of the rig, without its session.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <vector>

#include "af_xdp.h"
#include "compare/rig.h"
#include "flow_table.h"
#include "groups.h"
#include "object.h"
#include "reclaimer.h"
#include "reference/datapath.h"

namespace sluice::compare {

struct UpcallSeen {
  uint32_t reason = 0;             // enum sluice_upcall_reason
  uint32_t record = 0;             // as the metadata has it
  std::optional<uint64_t> cookie;  // of the flow behind it, reason SLUICE_UPCALL_ACTION
  reference::Bytes frame;
};

// What one packet did, as far as it can be seen.
struct Observed {
  std::optional<uint32_t> verdict;                // XDP_*; dry runs only
  std::optional<reference::Bytes> data;           // the packet as the program left it; dry runs only
  std::vector<reference::Emission> emissions;     // live runs only
  std::vector<UpcallSeen> upcalls;                // live runs only; those that software made have no reason
  std::optional<uint64_t> looked_up;              // the flow that a lookup in user space finds, by cookie
  std::map<std::string, uint64_t> counters;       // by how much which counter of the port grew
  std::map<uint64_t, xdp::FlowStatsDelta> flows;  // by cookie
};

class Subject : xdp::FlowTable::Listener {
 public:
  static constexpr uint32_t kIngressPorts = 2;  // ports 1 and 2 have programs

  // Throws std::runtime_error.
  Subject(Rig& rig, sluice_miss_policy miss_policy);
  ~Subject() override;
  Subject(const Subject&) = delete;
  Subject& operator=(const Subject&) = delete;

  // `cookie` names the flow from now on.
  Result<void> Put(const reference::Flow& flow, uint64_t cookie);
  Result<void> Modify(const reference::Flow& flow, uint64_t cookie);
  void Delete(uint64_t cookie);
  void Clear();
  // Packets that flows counted without anybody having sent one: seen when they were deleted. Empty if all is well.
  [[nodiscard]] const std::string& stray_packets() const { return stray_packets_; }

  // One BPF_PROG_TEST_RUN: shows verdict and bytes, sends nothing.
  Observed RunDry(uint32_t port, const reference::Bytes& frame);
  // One with a live frame: shows where it went.
  Observed RunLive(uint32_t port, const reference::Bytes& frame);

 private:
  // What software made of a packet: into what was observed.
  class SoftSink;
  struct Port {
    std::unique_ptr<xdp::Object> object;
    std::unique_ptr<xdp::FlowTable> table;
    std::unique_ptr<xdp::XskSocket> socket;
    std::map<uint64_t, xdp::FlowId> flows;
    xdp::Object::Counters counters;
  };

  void OnReclaimed(uint64_t cookie, const xdp::FlowStatsDelta& rest) override;
  Result<xdp::FlowSpec> Compile(const reference::Flow& flow, uint64_t cookie, std::optional<uint32_t>& in_port);
  void Count(Port& port, Observed& observed);
  void TakeUpcalls(uint32_t number, Port& port, Observed& observed);
  void Execute(uint32_t number, uint64_t cookie, const reference::Bytes& frame, Observed& observed);

  Rig& rig_;
  std::unique_ptr<xdp::Reclaimer> reclaimer_;
  std::unique_ptr<xdp::Groups> groups_;
  std::map<uint32_t, Port> ports_;
  std::map<uint64_t, Actions> software_;  // of flows that XDP cannot execute, by cookie
  std::string stray_packets_;
};

}  // namespace sluice::compare
