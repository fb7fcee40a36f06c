// SPDX-License-Identifier: Apache-2.0
// A port's own programs and those of later passes, with their tables, without a port: packets by BPF_PROG_TEST_RUN.
// Ports 1 to 4 are the loopback device; nothing is sent.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "flow_table.h"
#include "groups.h"
#include "object.h"
#include "passes.h"
#include "reclaimer.h"
#include "reference/packet.h"
#include "table_rig.h"

namespace sluice::xdp {

inline constexpr uint32_t kPortNumber = 1;  // of the receiving port
inline constexpr uint32_t kPassSlot = 3;    // and its entry of `pass_ports`

// What a flow does: edits as odp text, then the terminal.
struct Do {
  sluice_action_type terminal = SLUICE_ACTION_DROP;
  uint32_t arg = 0;
  std::string edits{};
};

inline sluice_step MakeStep(uint32_t flags, sluice_action_type terminal, uint32_t arg) {
  sluice_step step{};
  step.flags = flags;
  step.terminal = terminal;
  step.terminal_arg = arg;
  return step;
}

// Throws std::runtime_error where something of it cannot be made.
class PassRig : public FlowTable::Listener {
 public:
  struct Options {
    bool frags = false;
    uint32_t depth = SLUICE_PASS_DEPTH;
    bool enter = true;
  };
  PassRig() : PassRig(Options{}) {}
  explicit PassRig(Options options);
  ~PassRig() override;
  PassRig(const PassRig&) = delete;
  PassRig& operator=(const PassRig&) = delete;

  // Flows of the first pass, and of later ones; `cookie` as in Stats().
  void First(const std::string& match, const Do& what, uint64_t cookie = 0);
  void Later(const std::string& match, const Do& what, uint64_t cookie = 0);
  // Its number.
  uint32_t Step(const sluice_step& step);
  // A packet that the port receives.
  Ran Run(const Bytes& frame) { return RunProgram(port->program_fd(), frame); }
  // By how much a counter has grown since the last call for it: of the port, and of its packets in later passes.
  uint64_t Grown(sluice_counter counter);
  uint64_t PassGrown(uint32_t counter);
  // The flow of a later pass that packets have had since the last call; 0 if there is none or more than one.
  uint64_t Taken();

  void OnReclaimed(uint64_t /*cookie*/, const FlowStatsDelta& /*rest*/) override {}

  std::unique_ptr<Reclaimer> reclaimer;
  std::unique_ptr<Groups> groups;
  std::unique_ptr<PassMaps> maps;
  std::unique_ptr<PassObject> passes;
  std::unique_ptr<Object> port;
  std::unique_ptr<FlowTable> first, later;

 private:
  FlowSpec Spec(const std::string& match, const Do& what, const KeyLayout& layout, uint64_t cookie);

  uint32_t steps_ = 0;
  std::map<uint32_t, uint64_t> seen_, pass_seen_;
};

}  // namespace sluice::xdp
