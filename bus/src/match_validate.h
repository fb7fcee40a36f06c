// SPDX-License-Identifier: Apache-2.0
// Why a match can be met by no packet.
#pragma once

#include <optional>
#include <string>

#include "sluice/match.h"

namespace sluice {

struct MatchFault {
  Field field;  // the one that is out of place
  std::string detail;
};

// The first fault in the order of field.def; nullopt where there is none.
std::optional<MatchFault> FindFault(const Match& match);

// As users know it: "ipv4(src)", "eth_type", "encap(vlan)".
std::string TextName(Field field);

}  // namespace sluice
