// SPDX-License-Identifier: Apache-2.0
#include "packet_out.h"

#include <bpf/bpf.h>
#include <linux/bpf.h>
#include <linux/if_ether.h>

#include <cerrno>
#include <cstring>
#include <string>

#include "system.h"

namespace sluice::xdp {
namespace {

// A live frame shares a page with XDP_PACKET_HEADROOM, the page's head and the skb's tail. What is left differs a
// little by kernel; this is what is left in all of them.
constexpr size_t kMostBytes = 3300;

}  // namespace

Result<void> RunLive(int program_fd, int ifindex, std::string_view packet) {
  if (packet.size() < ETH_HLEN) {
    return Error{"bad_packet", "a packet of " + std::to_string(packet.size()) + " bytes has no Ethernet header"};
  }
  if (packet.size() > kMostBytes) {
    return Error{"bad_packet", "a packet of " + std::to_string(packet.size()) + " bytes is more than the " +
                                   std::to_string(kMostBytes) + " that can be sent this way"};
  }
  xdp_md context{};
  context.data_end = static_cast<uint32_t>(packet.size());
  context.ingress_ifindex = static_cast<uint32_t>(ifindex);

  LIBBPF_OPTS(bpf_test_run_opts, options);
  options.data_in = packet.data();
  options.data_size_in = static_cast<uint32_t>(packet.size());
  options.ctx_in = &context;
  options.ctx_size_in = sizeof(context);
  options.repeat = 1;
  options.flags = BPF_F_TEST_XDP_LIVE_FRAMES;
  const int error = bpf_prog_test_run_opts(program_fd, &options);
  if (error != 0) return SystemErrorNeeding("sending a packet through XDP", -error, {kCapBpf, kCapNetAdmin});
  return {};
}

}  // namespace sluice::xdp
