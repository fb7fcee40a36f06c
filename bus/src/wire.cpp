// SPDX-License-Identifier: Apache-2.0
#include "sluice/wire.h"

#include <google/protobuf/stubs/logging.h>
#include <google/protobuf/util/json_util.h>

#include <climits>

namespace sluice {
namespace {

using google::protobuf::Message;

Result<void> DecodeJson(std::string_view payload, Message& message) {
  google::protobuf::util::JsonParseOptions options;
  options.ignore_unknown_fields = false;
  message.Clear();
  const auto status =
      google::protobuf::util::JsonStringToMessage(std::string(payload.data(), payload.size()), &message, options);
  if (status.ok()) return {};
  std::string detail = std::string(status.message());
  for (char& c : detail) {
    if (c == '\n') c = ' ';
  }
  return Error{.reason = "bad_payload", .detail = "not a " + message.GetDescriptor()->name() + " in JSON: " + detail};
}

}  // namespace

Encoding EncodingOf(std::string_view payload) {
  return !payload.empty() && payload.front() == '{' ? Encoding::json : Encoding::protobuf;
}

Result<void> Decode(std::string_view payload, Message& message) {
  if (payload.size() > kMaxPayload) {
    return Error{.reason = "too_large",
                 .detail = "a payload of " + std::to_string(payload.size()) + " bytes; the limit is " +
                           std::to_string(kMaxPayload)};
  }
  // Protobuf would write to stderr what is told here already.
  const google::protobuf::LogSilencer silence;
  if (EncodingOf(payload) == Encoding::json) return DecodeJson(payload, message);
  if (message.ParseFromArray(payload.data(), static_cast<int>(payload.size()))) return {};
  return Error{.reason = "bad_payload",
               .detail = "not a " + message.GetDescriptor()->name() + " in protobuf's binary encoding (" +
                         std::to_string(payload.size()) + " bytes)"};
}

std::string Encode(const Message& message, Encoding encoding) {
  std::string payload;
  const google::protobuf::LogSilencer silence;
  if (encoding == Encoding::protobuf) {
    if (!message.SerializeToString(&payload)) payload.clear();  // beyond 2 GiB only
    return payload;
  }
  google::protobuf::util::JsonPrintOptions options;
  options.preserve_proto_field_names = true;
  options.always_print_primitive_fields = true;
  if (!google::protobuf::util::MessageToJsonString(message, &payload, options).ok()) payload.clear();
  return payload;
}

}  // namespace sluice
