// SPDX-License-Identifier: Apache-2.0
#include "message_items.h"

#include <google/protobuf/io/coded_stream.h>
#include <google/protobuf/wire_format_lite.h>

#include <algorithm>
#include <string>

#include "sluice/wire.h"

namespace sluice::core {
namespace {

using google::protobuf::internal::WireFormatLite;

// Fields that may be messages, in those that are `depth` deep. What cannot be read ends it: decoding will say so.
size_t CountBinary(std::string_view payload, int depth) {
  const auto* bytes = reinterpret_cast<const uint8_t*>(payload.data());
  google::protobuf::io::CodedInputStream in(bytes, static_cast<int>(payload.size()));
  size_t count = 0;
  for (uint32_t tag = in.ReadTag(); tag != 0 && count <= kMaxItems; tag = in.ReadTag()) {
    if (WireFormatLite::GetTagWireType(tag) != WireFormatLite::WIRETYPE_LENGTH_DELIMITED) {
      if (!WireFormatLite::SkipField(&in, tag)) break;
      continue;
    }
    uint32_t size = 0;
    if (!in.ReadVarint32(&size)) break;
    const auto at = static_cast<size_t>(in.CurrentPosition());
    if (size > payload.size() - at || !in.Skip(static_cast<int>(size))) break;
    count += depth == 1 ? 1 : CountBinary(payload.substr(at, size), depth - 1);
  }
  return count;
}

}  // namespace

Result<void> CheckItems(std::string_view payload, int depth) {
  const bool json = EncodingOf(payload) == Encoding::json;
  // In JSON a brace in a text counts, too, and so do the messages around: no matter.
  const size_t count =
      json ? static_cast<size_t>(std::count(payload.begin(), payload.end(), '{')) : CountBinary(payload, depth);
  if (count <= kMaxItems + (json ? 2 : 0)) return {};
  return Error{"too_many",
               "a message of more than " + std::to_string(kMaxItems) + " flows or packets: send them in several", 0, 0};
}

}  // namespace sluice::core
