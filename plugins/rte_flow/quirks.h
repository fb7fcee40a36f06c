// SPDX-License-Identifier: Apache-2.0
// What is known of drivers that neither they nor rte_flow_validate tell. quirks.cpp has the table, and where each entry
// is known from.
#pragma once

#include <cstdint>
#include <string_view>

namespace sluice::rteflow {

// How a rule that a driver made can be seen in another way than by the driver's word.
enum class Readback : uint8_t {
  kNone,
  kTc,  // it is a TC filter on the device's network interface: readback_tap.h
};

struct Quirks {
  bool rss = true;  // RSS may be said
  Readback readback = Readback::kNone;
};

// `driver` as in rte_eth_dev_info.driver_name. A driver that is not in the table has none.
Quirks QuirksOf(std::string_view driver);

}  // namespace sluice::rteflow
