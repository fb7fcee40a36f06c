// SPDX-License-Identifier: Apache-2.0
// The settings that a device, and a veth's peer, need so that frames get through XDP whole. plugins/xdp/README.md,
// "veth", tells why each.
#pragma once

#include <string>
#include <vector>

#include "device.h"
#include "sluice/error.h"

namespace sluice::xdp {

// A feature of ethtool's that was turned the other way round.
struct SettingChange {
  bool peer = false;  // of the veth's peer, else of the device itself
  std::string feature;
  bool on = false;  // as we set it
  bool operator==(const SettingChange&) const = default;
};

struct Preparation {
  std::string peer;  // "eth0 in netns h1"; empty where there is none
  std::vector<SettingChange> changes;
  std::vector<std::string> warnings;  // sentences: what was found wrong and could not be put right

  // "peer tx-checksum-ip-generic off, peer rx-gro on"; empty: nothing.
  [[nodiscard]] std::string Changed() const;
};

// Finds out what stands in the way of `device` as a port and turns it round where it can. Call it with the program
// attached.
Preparation PrepareDevice(const Device& device);

// The larger of the device's MTU and, where it is a veth, its peer's (from which come the frames).
uint32_t LargestMtu(const Device& device);

// Turns back those that are still as we set them. What no longer exists needs no turning back.
Result<void> UndoChanges(const std::string& device, const std::vector<SettingChange>& changes);

}  // namespace sluice::xdp
