// SPDX-License-Identifier: Apache-2.0
// A port's object and the programs of later passes, with flows in both, without daemon and session.
#pragma once

#include <cstdint>
#include <memory>

#include "bench/datapath.h"
#include "flow_compiler.h"
#include "passes.h"
#include "sluice/match.h"

namespace sluice::bench {

class PassRig : xdp::FlowTable::Listener {
 public:
  static constexpr uint32_t kIn = 1;   // the port that packets come in by
  static constexpr uint32_t kOut = 2;  // the device that `ifindex` names

  // The plugin recirc's programs, entered.
  explicit PassRig(unsigned ifindex);
  ~PassRig() override;
  PassRig(const PassRig&) = delete;
  PassRig& operator=(const PassRig&) = delete;

  // A flow of the first pass, or of a later one, whose actions are one terminal.
  void AddFirst(const Match& match, xdp::Terminal terminal);
  void AddLater(const Match& match, xdp::Terminal terminal);
  // Its index, for a terminal.
  uint32_t AddStep(const sluice_step& step);

  // Of the port's own program.
  [[nodiscard]] int program_fd() const { return port_->program_fd(); }
  // Of all packets so far: what the first pass and later ones have counted.
  [[nodiscard]] uint64_t Counted(sluice_counter counter) const;
  [[nodiscard]] uint64_t Counted(sluice_pass_counter counter) const;

 private:
  void OnReclaimed(uint64_t /*cookie*/, const xdp::FlowStatsDelta& /*rest*/) override {}
  static void Add(xdp::FlowTable& table, const xdp::KeyLayout& layout, const Match& match, xdp::Terminal terminal);

  std::unique_ptr<xdp::Reclaimer> reclaimer_;
  std::unique_ptr<xdp::Groups> groups_;
  std::unique_ptr<xdp::PassMaps> maps_;
  std::unique_ptr<xdp::PassObject> passes_;
  std::unique_ptr<xdp::FlowTable> later_;
  std::unique_ptr<xdp::Object> port_;
  std::unique_ptr<xdp::FlowTable> first_;
  uint32_t steps_ = 0;
};

}  // namespace sluice::bench
