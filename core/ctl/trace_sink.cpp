// SPDX-License-Identifier: Apache-2.0
#include "trace_sink.h"

#include <algorithm>

#include "trace_tunnel.h"

namespace sluice::ctl {

void WarnOf(const TracePlace& place, TraceOutput& output) {
  constexpr size_t kHeaderAndTag = 18;  // beside what the kernel counts to the MTU
  const v1::Port* port = PortNumbered(place, output.port);
  if (port == nullptr) {
    output.warning = "there is no such port";
  } else if (port->state() != "up") {
    output.warning = "the port is " + port->state();
  } else if (const size_t mtu = MtuOf(*port); mtu != 0 && output.frame.size() > mtu + kHeaderAndTag) {
    output.warning = "longer than its MTU of " + std::to_string(mtu) + " allows: the kernel drops it";
  }
}

void StepSink::Output(uint32_t port, std::span<const uint8_t> frame) {
  if (++sent_ > sent_before_) Leave(port, frame);
}

void StepSink::Flood(std::span<const uint8_t> frame) {
  if (++sent_ <= sent_before_) return;
  for (const v1::Port& port : place_.ports) {
    const bool other = port.number() != place_.port.number() && !TunnelOf(port);  // a tunnel port has no device
    if (other && port.plugin() == place_.port.plugin() && port.state() == "up") Leave(port.number(), frame);
  }
}

void StepSink::ToController(const sluice::ToController& action, std::span<const uint8_t> frame, size_t length) {
  if (++sent_ <= sent_before_) return;
  const size_t most = action.max_len == 0 ? frame.size() : std::min<size_t>(action.max_len, frame.size());
  step_.upcall = {{frame.begin(), frame.begin() + static_cast<ptrdiff_t>(most)}, length};
}

void StepSink::Leave(uint32_t number, std::span<const uint8_t> frame) {
  TraceOutput& output = step_.outputs.emplace_back();
  output.port = number;
  output.frame.assign(frame.begin(), frame.end());
  WarnOf(place_, output);
}

}  // namespace sluice::ctl
