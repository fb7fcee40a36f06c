// SPDX-License-Identifier: Apache-2.0
// Which action lists XDP can do itself, and what becomes of a packet in one of them.
//
// XDP has one packet and cannot copy it between edits: edits, then either outputs or one of the others. What is done to
// the packet after it was sent matters only if it is sent again.
#pragma once

#include "reference/actions.h"

namespace sluice::compare {

bool XdpCanDo(const Actions& actions);

bool IsOutput(const Action& action);
// Sends the packet somewhere: an output, a flood or an upcall.
bool IsTerminal(const Action& action);
// False: whatever packet it is, it is dropped.
bool SendsAnything(const Actions& actions);

// The list that one packet goes through, of one that XDP can do.
struct Way {
  Actions actions;
  bool expired = false;  // and ends with what a dec_ttl has for packets whose time is over
};
Way WayOf(const Actions& actions, const reference::Bytes& frame);

// The frame after the edits that come before it is sent.
reference::Bytes Edited(const Way& way, const reference::Bytes& frame);

}  // namespace sluice::compare
