// SPDX-License-Identifier: Apache-2.0
// The plugin's handler on four ports of net_sluice, told what the core would tell it, with the far end of each port's
// wire in the test's hands. DPDK is started once for all tests of the process.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "eth_device.h"
#include "handler.h"
#include "reference/datapath.h"

namespace sluice::rteflow {

// Empty: DPDK runs and net_sluice is there. Else why it was not built. Throws std::runtime_error.
const std::string& WhyNoNic();

struct Seen {
  std::vector<reference::Emission> emissions;
  std::vector<v1::Upcall> upcalls;
  std::map<uint64_t, v1::FlowStats> counted;  // by the flow's number
};

class NicRig {
 public:
  static constexpr uint32_t kPorts = 4;  // 1 to 4, named p1 to p4

  // `devargs`: of the ports' devices, behind their wires: "profile=full". `options`: of each port.
  explicit NicRig(const std::string& devargs, const std::map<std::string, std::string>& options = {});
  ~NicRig();
  NicRig(const NicRig&) = delete;
  NicRig& operator=(const NicRig&) = delete;

  // Each is a batch of its own; what was answered.
  v1::FromPlugin Put(uint64_t flow, const Match& match, const Actions& actions, uint32_t priority);
  v1::FromPlugin Put(uint64_t flow, const std::string& match, const std::string& actions, uint32_t priority = 0);
  v1::FromPlugin Delete(uint64_t flow);
  v1::FromPlugin Tell(const v1::ToPlugin& batch);
  v1::FromPlugin AddPort(uint32_t number);
  v1::FromPlugin DeletePort(uint32_t number);
  v1::FromPlugin Tick();
  // Changes of one batch, to be told with Tell.
  void AddPut(v1::ToPlugin& batch, uint64_t flow, const Match& match, const Actions& actions, uint32_t priority);
  void AddDelete(v1::ToPlugin& batch, uint64_t flow);

  // One frame into `port`, and all that came of it.
  Seen Send(uint32_t port, const reference::Bytes& frame);
  // Without looking. Returns when the device has had all of them.
  void SendMany(uint32_t port, const std::vector<reference::Bytes>& frames);
  Seen Look();

  // An extended statistic of the port's device.
  [[nodiscard]] uint64_t DeviceCounter(uint32_t port, const std::string& name) const;
  [[nodiscard]] Handler& handler() { return *handler_; }
  [[nodiscard]] Datapath& datapath() { return *datapath_; }
  void WriteFaults(const std::string& lines);
  // How often the handler has said that it needs time.
  [[nodiscard]] unsigned busy() const { return busy_; }

 private:
  struct FarEnd {
    std::unique_ptr<EthDevice> device;
  };
  [[nodiscard]] std::string DevArgs(uint32_t port) const;

  const std::string name_;
  const std::string devargs_;
  const std::map<std::string, std::string> options_;
  std::string faults_;
  std::array<FarEnd, kPorts> far_;
  Datapath* datapath_ = nullptr;
  std::unique_ptr<Handler> handler_;
  uint64_t seq_ = 0;
  unsigned busy_ = 0;
  std::atomic<bool> woken_ = false;
};

std::string UfidBytes(uint64_t flow);
uint64_t NumberOf(const std::string& ufid_bytes);
// The only verdict in `answer`.
const v1::Verdict& VerdictOf(const v1::FromPlugin& answer);

}  // namespace sluice::rteflow
