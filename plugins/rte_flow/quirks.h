// SPDX-License-Identifier: Apache-2.0
// What is known of drivers beforehand, because it cannot be learnt from them.
#pragma once

#include <string>

namespace sluice::rteflow {

struct Quirks {
  bool rss = true;  // whether RSS may be said in a rule
};

// `driver`: rte_eth_dev_info.driver_name.
const Quirks& QuirksOf(const std::string& driver);

}  // namespace sluice::rteflow
