// SPDX-License-Identifier: Apache-2.0
#include "trace_print.h"

#include <algorithm>

#include "flow_print.h"

namespace sluice::ctl {
namespace {

using Json = nlohmann::ordered_json;

constexpr size_t kShownBytes = 64;
constexpr size_t kShownFlows = 10;

std::string Hex(std::span<const uint8_t> bytes) {
  constexpr std::string_view kDigits = "0123456789abcdef";
  std::string text;
  for (const uint8_t byte : bytes) {
    text += kDigits[byte >> 4];
    text += kDigits[byte & 0xf];
  }
  return text;
}

std::string HexUpTo(std::span<const uint8_t> bytes, bool whole) {
  if (whole || bytes.size() <= kShownBytes) return Hex(bytes);
  return Hex(bytes.first(kShownBytes)) + "... (" + std::to_string(bytes.size() - kShownBytes) + " more: --bytes)";
}

std::string PortText(const TracePlace& place, uint32_t number) {
  return place.names.Name(number).value_or(std::to_string(number));
}

// "xdp: installed", "xdp: software, unsupported_action: XDP cannot ...".
std::string OffloadText(const v1::Offload& offload) {
  std::string text = offload.plugin() + ": " + std::string(StateName(offload.state()));
  if (!offload.reason().empty()) text += ", " + offload.reason();
  if (!offload.detail().empty()) text += ": " + offload.detail();
  return text;
}

std::string StateText(const v1::Flow& flow, const std::string& plugin) {
  const v1::Offload* offload = OffloadIn(flow, plugin);
  return offload == nullptr ? plugin + ": not offered to it" : OffloadText(*offload);
}

std::string FlowName(const v1::Flow& flow) {
  std::string text = "ufid:" + flow.ufid();
  if (!flow.match().empty()) text += ',' + flow.match();
  if (flow.priority() != 0) text += ", priority:" + std::to_string(flow.priority());
  return text + ", actions:" + (flow.actions().empty() ? "drop" : flow.actions());
}

class Text {
 public:
  Text(const TracePlace& place, bool bytes) : place_(place), bytes_(bytes) {}

  void Packet(const TracedPacket& packet) {
    Line(0, "packet " + std::to_string(packet.number) + ": " + std::to_string(packet.length) + " bytes in by " +
                place_.port.name() + " (" + place_.port.plugin() + ")");
    if (packet.frame.size() < packet.length) {
      Line(2,
           "only " + std::to_string(packet.frame.size()) + " bytes of it were captured: traced as if it ended there");
    }
    if (bytes_) Line(2, Hex(packet.frame));
  }

  void Pass(const TracePass& pass, size_t number) {
    Line(2, "pass " + std::to_string(number) + ": " + pass.packet);
    if (pass.flow) Found(pass);
    Flows(pass, pass.equals);
    Flows(pass, pass.absent);
    size_t size = pass.frame.size();
    for (size_t i = 0; i < pass.steps.size(); ++i) size = Step(pass.steps[i], i + 1, size);
  }

  void End(const Trace& trace) { Line(2, "end: " + trace.why); }

  std::string Take() { return std::move(text_); }

 private:
  void Line(size_t indent, const std::string& line) { text_.append(indent, ' ').append(line).append("\n"); }

  void Found(const TracePass& pass) {
    Line(4, "mask: " + (pass.mask.empty() ? "no field, every packet has it" : pass.mask));
    Line(4, "flow: " + FlowName(*pass.flow));
    Line(4, "in:   " + OffloadText(pass.offload));
  }

  void Flows(const TracePass& pass, const std::vector<v1::Flow>& flows) {
    for (size_t i = 0; i < std::min(flows.size(), kShownFlows); ++i) {
      Line(4, "note: " + FlowName(flows[i]));
      Line(10, (&flows == &pass.equals ? "has the same priority, and the datapath takes any of them; "
                                       : Absent(pass, flows[i]) + ", but is not in the datapath; ") +
                   StateText(flows[i], place_.port.plugin()));
    }
    if (flows.size() > kShownFlows) {
      Line(4, "note: and " + std::to_string(flows.size() - kShownFlows) + " more such flows: --json");
    }
  }

  static std::string Absent(const TracePass& pass, const v1::Flow& flow) {
    if (!pass.flow) return "would have matched";
    return flow.priority() > pass.flow->priority() ? "would have come first" : "has the same priority";
  }

  // Returns the frame's size after it.
  size_t Step(const TraceStep& step, size_t number, size_t size) {
    Line(4, std::to_string(number) + ". " + step.action);
    if (!step.now.empty()) Line(7, step.now + (step.before.empty() ? "" : ", was " + step.before));
    if (step.now.empty() && !step.before.empty()) Line(7, "gone: " + step.before);
    if (!step.note.empty()) Line(7, step.note);
    const bool changed = !step.now.empty() || !step.before.empty() || step.frame.size() != size;
    if (bytes_ && changed) Line(7, "now " + std::to_string(step.frame.size()) + " bytes: " + Hex(step.frame));
    for (const TraceOutput& output : step.outputs) {
      Line(7, "out by " + PortText(place_, output.port) + (output.tunnel.empty() ? "" : " through " + output.tunnel) +
                  ", " + std::to_string(output.frame.size()) + " bytes: " + HexUpTo(output.frame, bytes_));
      if (!output.warning.empty()) Line(7, "warning: " + output.warning);
    }
    if (step.upcall) {
      Line(7, "up to the controller, " + std::to_string(step.upcall->frame.size()) + " bytes of " +
                  std::to_string(step.upcall->length) + ": " + HexUpTo(step.upcall->frame, bytes_));
    }
    return step.frame.size();
  }

  const TracePlace& place_;
  const bool bytes_;
  std::string text_;
};

const char* EndName(TraceEnd end) {
  switch (end) {
    case TraceEnd::kMalformed:
      return "malformed";
    case TraceEnd::kMiss:
      return "miss";
    case TraceEnd::kDone:
      return "done";
    case TraceEnd::kDropped:
      return "dropped";
    case TraceEnd::kUntraceable:
      return "untraceable";
    case TraceEnd::kTunnel:
      return "tunnel";
    case TraceEnd::kTooDeep:
      return "too_deep";
  }
  return "";
}

Json OutputJson(const TracePlace& place, const TraceOutput& output) {
  Json json = {{"port", PortText(place, output.port)}, {"length", output.frame.size()}, {"frame", Hex(output.frame)}};
  if (!output.tunnel.empty()) json["tunnel"] = output.tunnel;
  if (!output.warning.empty()) json["warning"] = output.warning;
  return json;
}

Json UpcallJson(const TraceUpcall& upcall) { return {{"length", upcall.length}, {"frame", Hex(upcall.frame)}}; }

Json StepJson(const TracePlace& place, const TraceStep& step) {
  Json json = {{"action", step.action}, {"now", step.now}, {"before", step.before}, {"frame", Hex(step.frame)}};
  json["outputs"] = Json::array();
  for (const TraceOutput& output : step.outputs) json["outputs"].push_back(OutputJson(place, output));
  if (step.upcall) json["upcall"] = UpcallJson(*step.upcall);
  if (step.expired) json["expired"] = true;
  if (!step.note.empty()) json["note"] = step.note;
  return json;
}

Json FlowsJson(const std::vector<v1::Flow>& flows) {
  Json json = Json::array();
  for (const v1::Flow& flow : flows) json.push_back(FlowJson(flow));
  return json;
}

Json PassJson(const TracePlace& place, const TracePass& pass) {
  Json json = {{"match", pass.packet}, {"frame", Hex(pass.frame)}, {"mask", pass.mask}};
  json["flow"] = pass.flow ? FlowJson(*pass.flow) : Json(nullptr);
  json["equals"] = FlowsJson(pass.equals);
  json["absent"] = FlowsJson(pass.absent);
  json["steps"] = Json::array();
  for (const TraceStep& step : pass.steps) json["steps"].push_back(StepJson(place, step));
  return json;
}

}  // namespace

std::string TraceText(const TracedPacket& packet, const TracePlace& place, const Trace& trace, bool bytes) {
  Text text(place, bytes);
  text.Packet(packet);
  for (size_t i = 0; i < trace.passes.size(); ++i) text.Pass(trace.passes[i], i + 1);
  text.End(trace);
  return text.Take();
}

Json TraceJson(const TracedPacket& packet, const TracePlace& place, const Trace& trace) {
  Json json = {{"packet", packet.number},
               {"in_port", place.port.name()},
               {"plugin", place.port.plugin()},
               {"length", packet.length},
               {"frame", Hex(packet.frame)}};
  json["malformed"] = HeaderName(trace.malformed);
  json["passes"] = Json::array();
  json["outputs"] = Json::array();
  json["upcalls"] = Json::array();
  for (const TracePass& pass : trace.passes) {
    json["passes"].push_back(PassJson(place, pass));
    for (const TraceStep& step : pass.steps) {
      for (const TraceOutput& output : step.outputs) json["outputs"].push_back(OutputJson(place, output));
      if (step.upcall) json["upcalls"].push_back(UpcallJson(*step.upcall));
    }
  }
  json["end"] = {{"reason", EndName(trace.end)}, {"detail", trace.why}, {"miss", place.miss}};
  return json;
}

}  // namespace sluice::ctl
