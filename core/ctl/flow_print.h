// SPDX-License-Identifier: Apache-2.0
// A flow and a bus event as people and programs read them.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "sluice/sluice.pb.h"

namespace sluice::ctl {

// "installed", "software", "refused", "failed", "pending".
std::string_view StateName(v1::OffloadState state);

// One line in OVS's style that `flow add` reads back:
// ufid:..,<match>[, priority:N][, idle_timeout:S][, hard_timeout:S], packets:N, bytes:N, used:S.MMMs|never[, flags:..],
// offloaded:yes|no[, dp:PLUGIN].., actions:..
// and for every plugin that has not installed it STATE:PLUGIN[:REASON("DETAIL")].
std::string FlowLineText(const v1::Flow& flow);

// Keys: ufid, match, actions, priority, packets, bytes, used_ms (null: never used), tcp_flags, offload; and
// idle_timeout_ms and hard_timeout_ms where they are set.
nlohmann::ordered_json FlowJson(const v1::Flow& flow);

// TIME SEQ TOPIC BODY. The time of day is local.
std::string EventText(const v1::Event& event);

// Keys: node, epoch, seq, topic_seq, time_ns, topic, cause (where there is one), and the body under its name: flow,
// port, plugin, upcall, heartbeat or refused.
nlohmann::ordered_json EventJson(const std::string& node, const std::string& epoch, const v1::Event& event);

}  // namespace sluice::ctl
