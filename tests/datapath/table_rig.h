// SPDX-License-Identifier: Apache-2.0
// One port's datapath without a port: an object, its table, and packets by BPF_PROG_TEST_RUN. Ports 1 to 4 are the
// loopback device; nothing is sent.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "flow_table.h"
#include "groups.h"
#include "object.h"
#include "reclaimer.h"

namespace sluice::xdp {

using Bytes = std::vector<uint8_t>;

// An Ethernet, IPv4 and UDP frame of 64 bytes.
Bytes UdpFrame(uint32_t destination, uint16_t destination_port = 2000, uint32_t source = 0x0a000001);

struct Ran {
  uint32_t verdict = 0;  // XDP_*
  Bytes frame;           // as the program left it
  // Of the outermost tag; nullopt: untagged.
  [[nodiscard]] std::optional<uint16_t> vid() const;
};

// Any thread; throws std::runtime_error.
Ran RunProgram(int program, const Bytes& frame, uint32_t repeat = 1, double* ns_per_packet = nullptr);

// Throws std::runtime_error where something of it cannot be made.
class TableRig : public FlowTable::Listener {
 public:
  explicit TableRig(ObjectOptions options = {}, FlowTableOptions table_options = {});
  ~TableRig() override;
  TableRig(const TableRig&) = delete;
  TableRig& operator=(const TableRig&) = delete;

  // From odp text.
  FlowSpec Spec(const std::string& match, const std::string& actions, uint32_t priority = 0, uint64_t cookie = 0);
  FlowId Put(const std::string& match, const std::string& actions, uint32_t priority = 0, uint64_t cookie = 0);
  Ran Run(const Bytes& frame) { return RunProgram(object->program_fd(), frame); }
  // By how much a counter has grown since the last call for it.
  uint64_t Grown(sluice_counter counter);
  // By cookie, what the table has reported since the last call.
  std::map<uint64_t, FlowStatsDelta> Stats();

  void OnReclaimed(uint64_t cookie, const FlowStatsDelta& rest) override;

  std::unique_ptr<Reclaimer> reclaimer;
  std::unique_ptr<Groups> groups;
  std::unique_ptr<Object> object;
  std::vector<std::pair<uint64_t, FlowStatsDelta>> reclaimed;
  std::unique_ptr<FlowTable> table;

 private:
  std::map<sluice_counter, uint64_t> seen_;
};

}  // namespace sluice::xdp
