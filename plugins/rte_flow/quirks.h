// SPDX-License-Identifier: Apache-2.0
// What is known of drivers beforehand, because it cannot be learnt from them.
#pragma once

#include <cstdint>
#include <string>

namespace sluice::rteflow {

// How rules can be seen in another way than by the driver's word.
enum class Readback : uint8_t {
  kNone,
  kTc,  // they are TC filters on the device's network interface: readback_tap.h
};

struct Quirks {
  bool rss = true;       // whether RSS may be said in a rule
  bool tag_type = true;  // whether a tag's type, 0x8100, may be said beside the VLAN item
  Readback readback = Readback::kNone;
};

// `driver`: rte_eth_dev_info.driver_name.
const Quirks& QuirksOf(const std::string& driver);

}  // namespace sluice::rteflow
