// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <functional>
#include <string>

namespace sluice::test {

// What `work` returns in a child that has no other capabilities than those of the mask `kept` (of the first 32).
std::string WithCapabilities(uint32_t kept, const std::function<std::string()>& work);

}  // namespace sluice::test
