// SPDX-License-Identifier: Apache-2.0
// How many flows or packets a message has, before it is decoded: two bytes can say one, and it takes some hundred in
// memory and its share of a turn.
#pragma once

#include <cstddef>
#include <string_view>

#include "sluice/error.h"

namespace sluice::core {

inline constexpr size_t kMaxItems = 65'536;

// `depth`: how many messages the list stands in, 1 for a publication, 2 for a request. Errors: "too_many".
Result<void> CheckItems(std::string_view payload, int depth);

}  // namespace sluice::core
