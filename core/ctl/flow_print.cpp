// SPDX-License-Identifier: Apache-2.0
#include "flow_print.h"

#include <algorithm>
#include <array>
#include <cstdio>
#include <ctime>

#include "info_print.h"
#include "sluice/flow_text.h"
#include "sluice/wire.h"

namespace sluice::ctl {
namespace {

using Json = nlohmann::ordered_json;

std::string Seconds(uint64_t milliseconds) {
  std::array<char, 40> text{};
  std::snprintf(text.data(), text.size(), "%llu.%03llu", static_cast<unsigned long long>(milliseconds / 1000),
                static_cast<unsigned long long>(milliseconds % 1000));
  return text.data();
}

// "10", "0.5": what a user would type.
std::string ShortSeconds(uint64_t milliseconds) {
  std::string text = Seconds(milliseconds);
  while (text.back() == '0') text.pop_back();
  if (text.back() == '.') text.pop_back();
  return text;
}

// In double quotes, on one line, and with parentheses in pairs: whatever the sentence says, the dump can be read back.
std::string Quoted(std::string text) {
  int depth = 0;
  bool pairs = true;
  for (char& c : text) {
    if (c == '"') c = '\'';
    if (c == '\n' || c == '\r') c = ' ';
    if (c == '(') ++depth;
    if (c == ')') pairs = --depth >= 0 && pairs;
  }
  if (!pairs || depth != 0) {
    std::replace(text.begin(), text.end(), '(', '[');
    std::replace(text.begin(), text.end(), ')', ']');
  }
  return '"' + text + '"';
}

// The reason of a flow that is installed so that the device classifies, and software forwards. OVS prints the same
// word.
constexpr std::string_view kPartial = "partial";

std::string OffloadText(const v1::Flow& flow) {
  std::string devices;
  std::string others;
  bool full = false;
  for (const v1::Offload& offload : flow.offload()) {
    if (offload.state() == v1::INSTALLED) {
      devices += ", dp:" + offload.plugin();
      full = full || offload.reason() != kPartial;
      continue;
    }
    others += ", " + std::string(StateName(offload.state())) + ':' + offload.plugin();
    if (!offload.reason().empty()) others += ':' + offload.reason();
    if (!offload.detail().empty()) others += '(' + Quoted(offload.detail()) + ')';
  }
  const char* extent = devices.empty() ? "no" : full ? "yes" : "partial";
  return std::string(", offloaded:") + extent + devices + others;
}

std::string TimeOfDay(uint64_t time_ns) {
  const auto seconds = static_cast<time_t>(time_ns / 1000000000);
  tm local{};
  localtime_r(&seconds, &local);
  std::array<char, 32> text{};
  const size_t length = std::strftime(text.data(), text.size(), "%H:%M:%S", &local);
  std::snprintf(text.data() + length, text.size() - length, ".%06u",
                static_cast<unsigned>(time_ns % 1000000000 / 1000));
  return text.data();
}

std::string UpcallText(const v1::Upcall& upcall) {
  std::string text = "in_port:" + upcall.in_port() + ", reason:" + upcall.reason() +
                     ", length:" + std::to_string(std::max<uint64_t>(upcall.length(), upcall.data().size()));
  if (!upcall.ufid().empty()) text += ", ufid:" + upcall.ufid();
  if (!upcall.match().empty()) text += ", " + upcall.match();
  return text;
}

std::string RefusedText(const v1::Refused& refused) {
  std::string text = (refused.publisher().empty() ? "somebody" : refused.publisher()) + ' ' + refused.topic() + ' ' +
                     std::to_string(refused.count()) + " refused";
  for (const v1::Refusal& refusal : refused.refused()) {
    text += "; " + refusal.reason() + ": " + refusal.detail();
  }
  return text;
}

std::string GapText(const v1::PublisherGap& gap) {
  const v1::Publisher& publisher = gap.publisher();
  const auto number = [](uint64_t n) { return std::to_string(n); };
  return publisher.name() + ": " + number(gap.messages()) + " messages with " + number(gap.records()) +
         " records never came; in all " + number(publisher.sent()) + " sent, " + number(publisher.accepted()) +
         " accepted, " + number(publisher.refused()) + " refused, " + number(publisher.dropped()) + " dropped";
}

std::string BodyText(const v1::Event& event) {
  switch (event.body_case()) {
    case v1::Event::kFlow:
      return FlowLineText(event.flow());
    case v1::Event::kPort:
      return event.topic() == topic::kPortStats ? event.port().name() + ": " + PortActivity(event.port())
                                                : PortLine(event.port());
    case v1::Event::kPlugin:
      return PluginLine(event.plugin());
    case v1::Event::kUpcall:
      return UpcallText(event.upcall());
    case v1::Event::kHeartbeat:
      return "newest #" + std::to_string(event.heartbeat().seq());
    case v1::Event::kRefused:
      return RefusedText(event.refused());
    case v1::Event::kGap:
      return GapText(event.gap());
    case v1::Event::BODY_NOT_SET:
      break;
  }
  return "";
}

}  // namespace

std::string_view StateName(v1::OffloadState state) {
  switch (state) {
    case v1::INSTALLED:
      return "installed";
    case v1::SOFTWARE:
      return "software";
    case v1::REFUSED:
      return "refused";
    case v1::FAILED:
      return "failed";
    default:
      return "pending";
  }
}

std::string FlowLineText(const v1::Flow& flow) {
  std::string text = "ufid:" + flow.ufid();
  if (!flow.match().empty()) text += ',' + flow.match();
  if (flow.priority() != 0) text += ", priority:" + std::to_string(flow.priority());
  if (flow.idle_timeout_ms() != 0) text += ", idle_timeout:" + ShortSeconds(flow.idle_timeout_ms());
  if (flow.hard_timeout_ms() != 0) text += ", hard_timeout:" + ShortSeconds(flow.hard_timeout_ms());
  text += ", packets:" + std::to_string(flow.packets()) + ", bytes:" + std::to_string(flow.bytes());
  text += ", used:" + (flow.has_used_ms() ? Seconds(flow.used_ms()) + 's' : std::string("never"));
  if (flow.tcp_flags() != 0) text += ", flags:" + FormatTcpFlags(flow.tcp_flags());
  text += OffloadText(flow);
  return text + ", actions:" + (flow.actions().empty() ? "drop" : flow.actions());
}

nlohmann::ordered_json FlowJson(const v1::Flow& flow) {
  Json json = {{"ufid", flow.ufid()},         {"match", flow.match()},     {"actions", flow.actions()},
               {"priority", flow.priority()}, {"packets", flow.packets()}, {"bytes", flow.bytes()}};
  json["used_ms"] = flow.has_used_ms() ? Json(flow.used_ms()) : Json(nullptr);
  json["tcp_flags"] = flow.tcp_flags();
  if (flow.idle_timeout_ms() != 0) json["idle_timeout_ms"] = flow.idle_timeout_ms();
  if (flow.hard_timeout_ms() != 0) json["hard_timeout_ms"] = flow.hard_timeout_ms();
  json["offload"] = Json::array();
  for (const v1::Offload& offload : flow.offload()) {
    json["offload"].push_back({{"plugin", offload.plugin()},
                               {"state", StateName(offload.state())},
                               {"reason", offload.reason()},
                               {"detail", offload.detail()}});
  }
  return json;
}

std::string EventText(const v1::Event& event) {
  std::string text = TimeOfDay(event.time_ns()) + " #" + std::to_string(event.seq()) + ' ' + event.topic();
  if (!event.cause().empty()) text += " (" + event.cause() + ')';
  const std::string body = BodyText(event);
  return body.empty() ? text : text + ' ' + body;
}

nlohmann::ordered_json EventJson(const std::string& node, const std::string& epoch, const v1::Event& event) {
  Json json = {{"node", node},
               {"epoch", epoch},
               {"seq", event.seq()},
               {"topic_seq", event.topic_seq()},
               {"time_ns", event.time_ns()},
               {"topic", event.topic()}};
  if (!event.cause().empty()) json["cause"] = event.cause();
  switch (event.body_case()) {
    case v1::Event::kFlow:
      json["flow"] = FlowJson(event.flow());
      break;
    case v1::Event::kPort:
      json["port"] = ToJson(event.port());
      break;
    case v1::Event::kPlugin:
      json["plugin"] = ToJson(event.plugin());
      break;
    case v1::Event::kUpcall:
      json["upcall"] = ToJson(event.upcall());
      break;
    case v1::Event::kHeartbeat:
      json["heartbeat"] = ToJson(event.heartbeat());
      break;
    case v1::Event::kRefused:
      json["refused"] = ToJson(event.refused());
      break;
    case v1::Event::kGap:
      json["gap"] = ToJson(event.gap());
      break;
    case v1::Event::BODY_NOT_SET:
      break;
  }
  return json;
}

}  // namespace sluice::ctl
