// SPDX-License-Identifier: Apache-2.0
// Frames in frames, as tunnels have them, right and wrong.
#pragma once

#include "reference/packet.h"
#include "reference/rng.h"
#include "reference/tunnel.h"

namespace sluice::compare {

// `inner` in the outer headers of a packet for `port`: mostly such as it must take; now and then with options,
// extension headers, tags, checksums that are there or not or wrong, lengths that lie, reserved bits, padding.
reference::Bytes InTunnel(reference::Rng& rng, const reference::TunnelPort& port, const reference::Bytes& inner);

}  // namespace sluice::compare
