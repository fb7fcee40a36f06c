// SPDX-License-Identifier: Apache-2.0
// The whole plugin but its session: what the core would say goes in by calls, and what it would hear is kept. Ports are
// veths p1, p2, ..., their far ends far1, far2, ... beside them.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "handler.h"
#include "sluice/sluice.pb.h"
#include "sluice/unique_fd.h"
#include "support/netns.h"
#include "support/temp_dir.h"
#include "support/veth.h"

namespace sluice::xdp {

// All calls, construction and destruction too, on a thread in `netns`: in Netns::Do. Throws std::runtime_error where
// something cannot be made.
class HandlerRig {
 public:
  HandlerRig(const test::Netns& netns, unsigned ports, const std::map<std::string, std::string>& options = {});
  ~HandlerRig();
  HandlerRig(const HandlerRig&) = delete;
  HandlerRig& operator=(const HandlerRig&) = delete;

  // Changes for the next Send. A flow is named by a number.
  uint64_t Put(uint32_t flow, const std::string& match, const std::string& actions, uint32_t priority = 0,
               uint64_t instance = 1);  // returns its seq
  uint64_t Delete(uint32_t flow, uint64_t instance = 1);
  void DeletePort(unsigned number);
  void PacketOut(unsigned port, const std::string& data);
  v1::ToPlugin& batch() { return batch_; }
  // One OnBatch with them. The reply is also taken in.
  v1::FromPlugin Send();
  void Resync() { handler_->OnResync(); }

  // The Reclaimer's callbacks that come next, and what the plugin says then.
  v1::FromPlugin Wait();
  // The same, not taken in, for who counts by himself.
  v1::FromPlugin Next();
  [[nodiscard]] Handler& handler() { return *handler_; }
  // Until `done`; throws where nothing more comes.
  void WaitUntil(const std::function<bool()>& done);
  // Nothing is under way any more.
  void Drain();
  void Tick();
  void Stop(bool keep = false);

  // By seq, what was said to puts; each once, or this throws.
  std::map<uint64_t, v1::Verdict> verdicts;
  std::map<uint64_t, v1::Verdict> deleted;  // by seq of the deletion
  std::map<unsigned, uint64_t> stats;       // packets by flow
  // The newest of port `number`'s counters, after a Tick.
  uint64_t Counter(unsigned number, const std::string& name) { return counters_[number][name]; }
  // Its program, for BPF_PROG_TEST_RUN.
  [[nodiscard]] int program_fd(unsigned number) const { return programs_.at(number).get(); }

 private:
  void Take(const v1::FromPlugin& out);
  v1::FlowState& NewChange(uint32_t flow, uint64_t instance, bool del);

  test::TempDir run_dir_;
  std::vector<std::unique_ptr<test::Veth>> pairs_;
  Reclaimer* reclaimer_ = nullptr;
  std::unique_ptr<Handler> handler_;
  bool woken_ = false;
  bool stopped_ = false;
  v1::ToPlugin batch_;
  uint64_t seq_ = 0;
  std::map<unsigned, UniqueFd> programs_;
  std::map<unsigned, std::map<std::string, uint64_t>> counters_;
};

// Flow number to ufid.
std::string UfidOf(uint32_t flow);

}  // namespace sluice::xdp
