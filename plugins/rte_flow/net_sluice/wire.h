// SPDX-License-Identifier: Apache-2.0
// What a device's packets come from and go to.
#pragma once

#include <rte_ether.h>
#include <rte_mbuf.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "counters.h"
#include "sluice/error.h"

namespace sluice::netsluice {

class Wire {
 public:
  Wire() = default;
  Wire(const Wire&) = delete;
  Wire& operator=(const Wire&) = delete;
  virtual ~Wire() = default;

  // Up to `count` packets, each the receiver's alone and in one piece, as they were on the wire. One thread at a time.
  // `pool`: where packets that have to be made are from.
  virtual uint16_t Receive(rte_mbuf** packets, uint16_t count, rte_mempool* pool) = 0;
  // How many were taken: sent, or lost and counted as such. The caller keeps the others and may try again. Any thread.
  virtual uint16_t Send(rte_mbuf** packets, uint16_t count) = 0;
  // Returns when there may be packets, or soon.
  virtual void Wait() = 0;

  // The device is started, or not: a wire's end that is not takes no packets. While they are called nobody receives.
  virtual void Start() = 0;
  virtual void Stop() = 0;

  [[nodiscard]] virtual bool Up() const = 0;
  // The address that the wire suggests for the device.
  [[nodiscard]] virtual std::optional<rte_ether_addr> Mac() const { return std::nullopt; }
  // Packets that the wire lost before anyone could receive them, since the last call.
  virtual uint64_t TakeMissed() { return 0; }
};

// One end of the wire in memory that has this name; the second caller gets the other. `counters` outlive the wire.
// Errors: "wire_taken", both ends are in use.
Result<std::unique_ptr<Wire>> MakeRingWire(const std::string& name, uint32_t depth, Counters& counters);

// A Linux network device of the caller's network namespace, over AF_PACKET. Errors: "no_such_device",
// "missing_privilege", "system".
Result<std::unique_ptr<Wire>> MakePacketWire(const std::string& device, Counters& counters);

}  // namespace sluice::netsluice
