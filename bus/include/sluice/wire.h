// SPDX-License-Identifier: Apache-2.0
// Payloads: messages of sluice.proto as they travel, and as JSON for people. Topics of ingress and events.
//
// Plain functions, any thread; no exceptions leave them.
#pragma once

#include <google/protobuf/message.h>

#include <cstddef>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>

#include "sluice/error.h"
#include "sluice/sluice.pb.h"

namespace sluice {

namespace topic {
// Ingress.
inline constexpr std::string_view kFlowPut = "flow.put";
inline constexpr std::string_view kFlowModify = "flow.mod";
inline constexpr std::string_view kFlowDelete = "flow.del";
inline constexpr std::string_view kFlowFlush = "flow.flush";
inline constexpr std::string_view kPacketOut = "packet.out";
inline constexpr std::string_view kPacketOuts = "packet.outs";
// Events.
inline constexpr std::string_view kFlowAdded = "flow.add";
inline constexpr std::string_view kFlowModified = "flow.mod";
inline constexpr std::string_view kFlowDeleted = "flow.del";
inline constexpr std::string_view kFlowStats = "flow.stats";
inline constexpr std::string_view kFlowOffload = "flow.offload";
inline constexpr std::string_view kPortAdded = "port.add";
inline constexpr std::string_view kPortModified = "port.mod";
inline constexpr std::string_view kPortDeleted = "port.del";
inline constexpr std::string_view kPortStats = "port.stats";
inline constexpr std::string_view kPluginLoaded = "plugin.load";
inline constexpr std::string_view kPluginUnloaded = "plugin.unload";
inline constexpr std::string_view kPluginFailed = "plugin.fail";
inline constexpr std::string_view kUpcall = "upcall";
inline constexpr std::string_view kRefused = "refused";
inline constexpr std::string_view kPublisherGap = "publisher.gap";
inline constexpr std::string_view kHeartbeat = "heartbeat";
// In front of the topic frame of events in JSON.
inline constexpr std::string_view kJsonPrefix = "json:";
}  // namespace topic

// Longer payloads are neither made nor read.
inline constexpr size_t kMaxPayload = size_t{16} << 20;

enum class Encoding { protobuf, json };

// By the first byte: '{' is JSON. No message of sluice.proto starts with that byte in binary.
Encoding EncodingOf(std::string_view payload);

// Reads either encoding. Errors: "bad_payload" (the detail names an unknown JSON field or the place), "too_large";
// `message` is then unspecified. An empty payload is an empty message, as protobuf has it.
Result<void> Decode(std::string_view payload, google::protobuf::Message& message);

// JSON is protobuf's canonical mapping with the field names of sluice.proto: 64-bit integers are strings, bytes are
// base64, enums are their names in capitals; fields at their default are printed. Text that is not UTF-8 becomes '?'.
std::string Encode(const google::protobuf::Message& message, Encoding encoding = Encoding::protobuf);

// For people and scripts, not for the wire: all integers are JSON numbers, enums are lower case, bytes are lower-case
// hex, fields at their default are there, an absent `optional` is null, absent messages are left out.
nlohmann::json ToJson(const google::protobuf::Message& message);

// ToJson of one event with the node and epoch of the message it came in, its body under its own name ("flow", ...).
nlohmann::json EventToJson(const v1::Events& envelope, const v1::Event& event);

}  // namespace sluice
