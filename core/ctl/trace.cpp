// SPDX-License-Identifier: Apache-2.0
#include "trace.h"

#include <arpa/inet.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cstdio>

#include "sluice/flow_text.h"
#include "trace_steps.h"

namespace sluice::ctl {
namespace {

bool InDatapath(const v1::Offload* offload) {
  return offload != nullptr && (offload->state() == v1::INSTALLED || offload->state() == v1::SOFTWARE);
}

std::string MaskBytes(const FieldInfo& info, std::span<const uint8_t> mask) {
  std::array<char, INET6_ADDRSTRLEN> address{};
  if (info.format == Format::ipv4) return inet_ntop(AF_INET, mask.data(), address.data(), address.size());
  if (info.format == Format::ipv6) return inet_ntop(AF_INET6, mask.data(), address.data(), address.size());
  std::string text = info.format == Format::mac ? "" : "0x";
  for (size_t i = 0; i < mask.size(); ++i) {
    std::array<char, 3> byte{};
    std::snprintf(byte.data(), byte.size(), "%02x", mask[i]);
    if (info.format == Format::mac && i > 0) text += ':';
    text += byte.data();
  }
  return text;
}

// in_port,eth_type,ipv4(dst/255.255.255.0,frag): fields of one group in brackets.
std::string MaskText(const Match& match) {
  std::string text;
  std::string_view open;
  for (uint64_t left = match.FieldBits(); left != 0; left &= left - 1) {
    const FieldInfo& info = kFields[static_cast<size_t>(std::countr_zero(left))];
    const bool goes_on = info.group == open && !info.sub.empty();
    if (!open.empty() && !goes_on) text += ')';
    if (!text.empty()) text += ',';
    if (!goes_on) text += info.group;
    if (!goes_on && !info.sub.empty()) text += '(';
    text += info.sub;
    if (!match.IsExact(info.id)) text += '/' + MaskBytes(info, match.Mask(info.id));
    open = info.sub.empty() ? std::string_view() : info.group;
  }
  return open.empty() ? text : text + ')';
}

std::string Fate(const TracePlace& place, const std::string& reason) {
  if (place.miss == "upcall") return "miss=upcall: it goes to the controller as an upcall, reason " + reason;
  if (place.miss == "drop") return "miss=drop: it is dropped";
  if (place.miss == "pass") return "miss=pass: it is given to the kernel's own stack";
  return "what becomes of it " + (place.port.plugin().empty() ? "nobody" : "the plugin " + place.port.plugin()) +
         " does not tell";
}

// Sorts what matches into the flow that the packet has, its equals, and what is not in the datapath.
const v1::Flow* Choose(const std::vector<const v1::Flow*>& matching, const TracePlace& place, TracePass& pass) {
  const v1::Flow* chosen = nullptr;
  for (const v1::Flow* flow : matching) {
    if (chosen != nullptr && flow->priority() < chosen->priority()) break;
    const v1::Offload* offload = OffloadIn(*flow, place.port.plugin());
    if (!InDatapath(offload)) {
      pass.absent.push_back(*flow);
    } else if (chosen == nullptr) {
      chosen = flow;
      pass.flow = *flow;
      pass.offload = *offload;
    } else {
      pass.equals.push_back(*flow);
    }
  }
  return chosen;
}

// No flow has the recirc_id that it is looked up for, whatever else it may be.
std::string WhyMissed(const TraceTable& table, const PassPacket& packet) {
  const auto recirc_id = static_cast<uint32_t>(packet.beside.ValueOf(Field::recirc_id));
  if (recirc_id == 0 || table.HasRecircId(recirc_id)) return "no flow takes it";
  Match wanted;
  wanted.SetExact(Field::recirc_id, recirc_id);
  return "no flow has " + FormatMatch(wanted);
}

// One pass: a lookup, and the actions of the flow found. Returns the packet for the next; nullopt: there is none.
std::optional<PassPacket> RunPass(const TraceTable& table, const TracePlace& place, PassPacket in, Trace& trace) {
  const soft::Parsed packet = soft::Parse(in.frame, in.beside);
  TracePass& pass = trace.passes.emplace_back();
  pass.packet = FormatMatch(soft::ToMatch(packet), place.names);
  pass.frame = in.frame;
  if (packet.malformed != soft::Malformed::kNo) {
    trace.malformed = packet.malformed;
    trace.end = TraceEnd::kMalformed;
    trace.why = std::string("its ") + HeaderName(packet.malformed) +
                " header is cut short or contradicts itself, and a malformed packet matches no flow; " +
                Fate(place, "malformed");
    return std::nullopt;
  }
  const v1::Flow* flow = Choose(table.Matching(packet), place, pass);
  if (flow == nullptr) {
    trace.end = TraceEnd::kMiss;
    trace.why = WhyMissed(table, in) + "; " + Fate(place, "miss");
    return std::nullopt;
  }
  pass.mask = MaskText(*ParseMatchPart(flow->match(), place.names));  // the table has read it before
  const auto actions = ParseActions(flow->actions().empty() ? "drop" : flow->actions(), place.names);
  if (actions) return TraceActions(*actions, place, in, packet, trace);
  trace.end = TraceEnd::kUntraceable;
  trace.why = "the trace ends here: the flow's actions are not understood: " + actions.error().detail;
  return std::nullopt;
}

}  // namespace

Trace TracePacket(const TraceTable& table, const TracePlace& place, PassPacket packet) {
  Trace trace;
  trace.tracking = place.tracking;
  if (!packet.beside.Has(Field::in_port)) packet.beside.SetExact(Field::in_port, place.port.number());
  std::optional<PassPacket> next = std::move(packet);
  while (next && trace.passes.size() <= kMostPasses) next = RunPass(table, place, *std::move(next), trace);
  if (next) {
    trace.end = TraceEnd::kTooDeep;
    trace.why = "it would begin more than " + std::to_string(kMostPasses) +
                " passes after its first: it is dropped, counted as depth_exceeded";
  }
  return trace;
}

const v1::Offload* OffloadIn(const v1::Flow& flow, const std::string& plugin) {
  const auto found = std::ranges::find(flow.offload(), plugin, &v1::Offload::plugin);
  return found == flow.offload().end() ? nullptr : &*found;
}

std::string MissPolicy(const v1::Port& port, const google::protobuf::RepeatedPtrField<v1::Plugin>& plugins) {
  const auto said = [](const auto& map) {
    const auto found = map.find("miss");
    return found == map.end() ? std::string() : found->second;
  };
  if (std::string told = said(port.info()); !told.empty()) return told;
  if (std::string option = said(port.options()); !option.empty()) return option;
  const auto plugin = std::ranges::find(plugins, port.plugin(), &v1::Plugin::name);
  return plugin == plugins.end() ? "" : said(plugin->options());
}

const char* HeaderName(soft::Malformed malformed) {
  switch (malformed) {
    case soft::Malformed::kNo:
      return "";
    case soft::Malformed::kEthernet:
      return "Ethernet";
    case soft::Malformed::kVlan:
      return "VLAN";
    case soft::Malformed::kArp:
      return "ARP";
    case soft::Malformed::kIpv4:
      return "IPv4";
    case soft::Malformed::kIpv6:
      return "IPv6";
    case soft::Malformed::kLayer4:
      return "layer 4";
  }
  return "";
}

}  // namespace sluice::ctl
