// SPDX-License-Identifier: Apache-2.0
// Four ports of a plugin "xdp", tunnel ports and a table, for tests of traces.
#pragma once

#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

#include "port_numbers.h"
#include "sluice/error.h"
#include "trace.h"
#include "trace_table.h"

namespace sluice::ctl {

// Tunnel ports vx0, gen0 and gre0, numbers 21 to 23, over p2.
inline void AddTunnelPorts(google::protobuf::RepeatedPtrField<v1::Port>& ports) {
  uint32_t number = 21;
  for (const auto& [name, tunnel] : {std::pair{"vx0", "vxlan"}, {"gen0", "geneve"}, {"gre0", "gre"}}) {
    v1::Port& port = *ports.Add();
    port.set_name(name);
    port.set_number(number++);
    port.set_plugin("xdp");
    port.set_state("up");
    (*port.mutable_options())["tunnel"] = tunnel;
    (*port.mutable_options())["underlay"] = "p2";
  }
}

// p1 to p4, numbers 1 to 4, all up; p9, number 9, of another plugin.
inline google::protobuf::RepeatedPtrField<v1::Port> TracePorts() {
  google::protobuf::RepeatedPtrField<v1::Port> ports;
  for (const uint32_t number : {1, 2, 3, 4, 9}) {
    v1::Port& port = *ports.Add();
    port.set_name("p" + std::to_string(number));
    port.set_number(number);
    port.set_plugin(number == 9 ? "other" : "xdp");
    port.set_state("up");
  }
  AddTunnelPorts(ports);
  return ports;
}

class TraceRig {
 public:
  // Packets come in by port `in_port`, and again by tunnel ports.
  explicit TraceRig(uint32_t in_port = 1, std::vector<uint32_t> in_ports = {21, 22, 23})
      : ports_(TracePorts()), names_(ports_, PortNumbers::Unknown::kNumbered), in_(in_port) {
    in_ports.push_back(in_port);
    table_.emplace(names_, std::move(in_ports));
  }

  // Returns its ufid, the number's 128 bits.
  std::string Put(uint64_t number, const std::string& match, const std::string& actions, uint32_t priority = 0,
                  v1::OffloadState state = v1::INSTALLED, const std::string& plugin = "xdp") {
    v1::Flow flow;
    flow.set_ufid(UfidOf(number));
    flow.set_match(match);
    flow.set_actions(actions);
    flow.set_priority(priority);
    v1::Offload& offload = *flow.add_offload();
    offload.set_plugin(plugin);
    offload.set_state(state);
    if (state == v1::REFUSED) {
      offload.set_reason("unsupported_action");
      offload.set_detail("it cannot do that");
    }
    table_->Put(flow);
    return flow.ufid();
  }
  void Remove(uint64_t number) { table_->Remove(UfidOf(number)); }

  [[nodiscard]] TracePlace Place() const {
    for (const v1::Port& port : ports_) {
      if (port.number() == in_) return {port, ports_, names_, miss, tracking};
    }
    throw std::logic_error("no such port");
  }
  [[nodiscard]] Trace Run(PassPacket packet) const { return TracePacket(*table_, Place(), std::move(packet)); }
  [[nodiscard]] Trace Run(std::span<const uint8_t> frame) const { return Run({{frame.begin(), frame.end()}, {}}); }

  [[nodiscard]] const PortNumbers& names() const { return names_; }
  [[nodiscard]] TraceTable& table() { return *table_; }
  [[nodiscard]] google::protobuf::RepeatedPtrField<v1::Port>& ports() { return ports_; }

  static std::string UfidOf(uint64_t number) {
    Ufid ufid;
    for (size_t i = 0; i < 8; ++i) ufid.bytes[15 - i] = static_cast<uint8_t>(number >> 8 * i);
    return ufid.ToString();
  }

  std::string miss = "upcall";
  TraceTracking tracking;

 private:
  google::protobuf::RepeatedPtrField<v1::Port> ports_;
  PortNumbers names_;
  std::optional<TraceTable> table_;
  uint32_t in_;
};

}  // namespace sluice::ctl
