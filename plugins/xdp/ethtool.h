// SPDX-License-Identifier: Apache-2.0
// What `ethtool` tells and sets, by ioctl, in the calling thread's network namespace.
#pragma once

#include <cstdint>
#include <map>
#include <string>

#include "sluice/error.h"

namespace sluice::xdp {

struct Feature {
  bool active = false;     // in force
  bool requested = false;  // wished for: comes into force when what it depends on does
  bool changeable = false;
};
using Features = std::map<std::string, Feature>;  // by the kernel's names: "rx-gro", "tx-checksum-ip-generic", ...

Result<Features> ReadFeatures(const std::string& device);

// Requests the features on or off. Fails if one has not come to be as asked ("not_supported", names it).
Result<void> SetFeatures(const std::string& device, const std::map<std::string, bool>& wanted);

// The driver's name, "veth"; empty where it does not say.
std::string ReadDriver(const std::string& device);

struct Channels {
  uint32_t rx = 0;  // 0: the driver does not say
  uint32_t tx = 0;
};
Channels ReadChannels(const std::string& device);

}  // namespace sluice::xdp
