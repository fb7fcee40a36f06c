// SPDX-License-Identifier: Apache-2.0
#include "quirks.h"

#include <algorithm>
#include <array>

namespace sluice::rteflow {
namespace {

struct KnownDriver {
  std::string_view name;
  Quirks quirks;
};

constexpr std::array kKnownDrivers{
    // DPDK 22.11: RSS loads a BPF program that newer kernels refuse, and the driver has crashed on it. Rules are TC
    // flower
    // filters, some of them not those that were asked for; net_tap.md has which.
    KnownDriver{"net_tap", {.rss = false, .readback = Readback::kTc}},
};

}  // namespace

Quirks QuirksOf(std::string_view driver) {
  const auto* known =
      std::find_if(kKnownDrivers.begin(), kKnownDrivers.end(), [&](const KnownDriver& k) { return k.name == driver; });
  return known == kKnownDrivers.end() ? Quirks{} : known->quirks;
}

}  // namespace sluice::rteflow
