// SPDX-License-Identifier: Apache-2.0
#include "bench/bench_flows.h"

namespace sluice::bench {

Match BenchMatch(uint32_t flow, uint32_t mask) {
  const auto prefix = [](uint32_t bits) { return 0xffffffffULL << (32 - bits) & 0xffffffffULL; };
  Match match;
  match.SetExact(Field::eth_type, 0x0800);
  match.SetMasked(Field::ipv4_src, 0x0a000000U + flow, prefix(32 - mask % 16));
  match.SetMasked(Field::ipv4_dst, 0x0b000000U + flow, prefix(32 - mask / 16));
  match.SetExact(Field::ipv4_proto, 17);
  match.SetExact(Field::udp_dst, flow & 0xffff);
  return match;
}

reference::Bytes BenchFrame() {
  reference::PacketSpec spec;
  spec.dst = {2, 0, 0, 0, 0, 2};
  spec.src = {2, 0, 0, 0, 0, 1};
  reference::Ipv4Spec ip;
  ip.src = 0x0a000000;
  ip.dst = 0x0b000000;
  spec.l3 = ip;
  spec.l4 = reference::UdpSpec{1000, 0};
  spec.payload = 18;  // 60 bytes, the least that Ethernet sends
  return reference::Build(spec);
}

}  // namespace sluice::bench
