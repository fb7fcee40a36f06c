// SPDX-License-Identifier: Apache-2.0
#include "trace_tunnel.h"

#include <algorithm>
#include <charconv>
#include <string_view>

namespace sluice::ctl {
namespace {

std::string_view Option(const v1::Port& port, const std::string& name) {
  const auto found = port.options().find(name);
  return found == port.options().end() ? std::string_view() : found->second;
}

template <typename T>
bool ReadNumber(std::string_view text, T& number) {
  const char* end = text.data() + text.size();
  return std::from_chars(text.data(), end, number).ptr == end;
}

Result<TunnelPort> TunnelNumbered(const TracePlace& place, uint32_t number) {
  const v1::Port* port = PortNumbered(place, number);
  const auto tunnel = port == nullptr ? std::nullopt : TunnelOf(*port);
  if (tunnel) return *tunnel;
  return Error{"unknown_port", place.names.Name(number).value_or(std::to_string(number)) + " is no tunnel port"};
}

Result<void> PushOnto(std::vector<uint8_t>& bytes, std::string_view header, size_t mtu) {
  soft::Frame frame;
  frame.Assign(bytes);
  if (auto pushed = soft::PushTunnel(frame, header, mtu); !pushed) return pushed;
  bytes.assign(frame.bytes().begin(), frame.bytes().end());
  return {};
}

}  // namespace

const v1::Port* PortNumbered(const TracePlace& place, uint32_t number) {
  const auto found = std::ranges::find(place.ports, number, &v1::Port::number);
  return found == place.ports.end() ? nullptr : &*found;
}

size_t MtuOf(const v1::Port& port) {
  size_t mtu = 0;
  const auto told = port.info().find("mtu");
  return told != port.info().end() && ReadNumber(std::string_view(told->second), mtu) ? mtu : 0;
}

std::optional<TunnelPort> TunnelOf(const v1::Port& port) {
  const auto type = soft::TunnelTypeOf(Option(port, "tunnel"));
  if (!type) return std::nullopt;
  TunnelPort tunnel{*type, soft::DefaultTunnelPort(*type), soft::OuterChecksum::kVerify,
                    std::string(Option(port, "underlay"))};
  const std::string_view dst_port = Option(port, "dst_port");
  if (!dst_port.empty() && !ReadNumber(dst_port, tunnel.dst_port)) return std::nullopt;
  if (Option(port, "csum") == "ignore") tunnel.checksum = soft::OuterChecksum::kIgnore;
  if (Option(port, "csum") == "require") tunnel.checksum = soft::OuterChecksum::kRequire;
  return tunnel;
}

Result<PassPacket> Pop(const TracePlace& place, uint32_t port, std::span<const uint8_t> frame) {
  const auto tunnel = TunnelNumbered(place, port);
  if (!tunnel) return tunnel.error();
  const auto popped = soft::PopTunnel(frame, tunnel->type, tunnel->dst_port, tunnel->checksum);
  if (!popped) return popped.error();
  const auto inner = frame.subspan(popped->inner, popped->end - popped->inner);
  PassPacket packet{{inner.begin(), inner.end()}, popped->tunnel};
  packet.beside.SetExact(Field::in_port, port);
  return packet;
}

Result<void> Encapsulate(const TracePlace& place, const v1::Port& port, const Match& set, TraceOutput& output) {
  const auto tunnel = TunnelOf(port);
  if (!tunnel) return Error{"unknown_port", port.name() + " is no tunnel port"};
  const auto underlay = std::ranges::find(place.ports, tunnel->underlay, &v1::Port::name);
  if (underlay == place.ports.end()) return Error{"unknown_port", port.name() + " has no port for its underlay"};
  const std::string header = soft::TunnelHeader(tunnel->type, tunnel->dst_port, set);
  output.tunnel = port.name();
  output.port = underlay->number();
  auto pushed = PushOnto(output.frame, header, MtuOf(*underlay));
  if (!pushed && pushed.error().reason == "tnl_mtu" && Option(port, "mtu_icmp") == "yes") {
    return Error{"tnl_mtu", pushed.error().detail + " (and its sender may be told by ICMP)"};
  }
  return pushed;
}

Result<TraceOutput> Push(const TracePlace& place, const TnlPush& push, std::span<const uint8_t> frame) {
  TraceOutput output;
  output.port = push.out_port;
  output.tunnel = place.names.Name(push.tnl_port).value_or(std::to_string(push.tnl_port));
  output.frame.assign(frame.begin(), frame.end());
  const v1::Port* port = PortNumbered(place, push.out_port);
  const size_t mtu = port == nullptr ? 0 : MtuOf(*port);
  if (auto pushed = PushOnto(output.frame, push.header, mtu); !pushed) return pushed.error();
  return output;
}

std::string ChosenLater(std::span<const uint8_t> frame) {
  constexpr uint16_t kDf = 0x4000;
  const soft::Parsed outer = soft::Parse(frame, uint32_t{0});
  std::string text;
  const auto add = [&](const char* what) { text += (text.empty() ? "" : "; ") + std::string(what); };
  if (std::all_of(frame.begin(), frame.begin() + 12, [](uint8_t byte) { return byte == 0; })) {
    add("the Ethernet addresses, by the kernel's routes");
  }
  const uint8_t* l4 = frame.data() + outer.headers.l4_offset;
  if (outer.headers.l4 == soft::Layer4::kUdp && l4[0] == 0 && l4[1] == 0) add("the source port, by the inner flow");
  const uint8_t* ip = frame.data() + outer.headers.l3_offset;
  if (outer.headers.l3 == soft::Layer3::kIpv4 && ((ip[6] << 8 | ip[7]) & kDf) == 0)
    add("the identification, at random");
  return text.empty() ? text : "0 here, and chosen for each packet: " + text;
}

}  // namespace sluice::ctl
