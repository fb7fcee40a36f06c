// SPDX-License-Identifier: Apache-2.0
#include "quirks.h"

#include <map>

namespace sluice::rteflow {

const Quirks& QuirksOf(const std::string& driver) {
  static const Quirks kOrdinary;
  static const std::map<std::string, Quirks> kKnown = {
      {"net_tap", {.rss = false}},  // DPDK 22.11's crashes on it
  };
  const auto found = kKnown.find(driver);
  return found == kKnown.end() ? kOrdinary : found->second;
}

}  // namespace sluice::rteflow
