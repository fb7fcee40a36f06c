// SPDX-License-Identifier: Apache-2.0
// Text of unknown origin, made fit to travel: protobuf's strings and JSON are UTF-8, and a message with anything else
// in it cannot be read by who gets it.
#pragma once

#include <string>
#include <string_view>

namespace sluice {

// The first `most` bytes at most, cut between characters; bytes that are no part of one (RFC 3629) are '?'.
std::string Utf8(std::string_view text, size_t most = std::string_view::npos);

}  // namespace sluice
