// SPDX-License-Identifier: Apache-2.0
#include "quirks.h"

#include <map>

namespace sluice::rteflow {

const Quirks& QuirksOf(const std::string& driver) {
  static const Quirks kOrdinary;
  static const std::map<std::string, Quirks> kKnown = {
      // DPDK 22.11: RSS loads a BPF program that kernels refuse, and has crashed the driver; a tag's type is refused.
      // Some of the TC filters that it makes are not what was asked for: tap/README.md has which.
      {"net_tap", {.rss = false, .tag_type = false, .readback = Readback::kTc}},
  };
  const auto found = kKnown.find(driver);
  return found == kKnown.end() ? kOrdinary : found->second;
}

}  // namespace sluice::rteflow
