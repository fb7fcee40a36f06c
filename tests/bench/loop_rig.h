// SPDX-License-Identifier: Apache-2.0
// The rte_flow plugin's poll-mode loop as a subject: flows that send packets from one port to one, and the cycles that
// it takes for each.
#pragma once

#include <rte_errno.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "eth_device.h"
#include "loop/datapath.h"
#include "reference/packet.h"

namespace sluice::bench {

inline void Must(bool good, const char* what) {
  if (!good) throw std::runtime_error(std::string(what) + ": " + rte_strerror(rte_errno));
}

// Once in a process, without huge pages.
void StartDpdk();
std::unique_ptr<rteflow::EthDevice> OpenDevice(const std::string& devargs);

// The last CPU: the others' noise gathers on the first.
int LoopCpu();

// One for each flow of the subject, told from others by addresses and ports.
std::vector<reference::Bytes> LoopFrames(uint32_t flows);
// The match of flow `number`, which its frame has; its mark is `number` + 1.
Match LoopMatch(uint32_t number, uint32_t masks);

// Packets from port 1, device `from`, go to port `out_port`, which is device `to`: 1 is the same device.
class LoopSubject {
 public:
  LoopSubject(uint32_t flows, uint32_t masks, uint32_t out_port, uint32_t burst, int cpu);

  // Of the loop's thread, a packet, until `packets` have come. `marked`: throws where others came, or no marked ones.
  double Cycles(uint16_t from, uint16_t to, uint32_t packets, bool marked);

 private:
  uint32_t out_port_;
  std::vector<rteflow::DatapathFlow> flows_;
  std::unique_ptr<rteflow::Datapath> datapath_;
};

// `work` on a thread of DPDK's on that CPU.
void OnCpu(int cpu, const std::function<void()>& work);

// Cycles of the time stamp counter a packet and millions of packets a second; the cases are bare, MARKed, software.
struct Case;
void PrintLoop(const std::vector<Case>& cases);

}  // namespace sluice::bench
