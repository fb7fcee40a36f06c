// SPDX-License-Identifier: Apache-2.0
#include "compare/xdp_actions.h"

#include <algorithm>
#include <array>
#include <string_view>

namespace sluice::compare {
namespace {

// Not set(sctp): its checksum is over all of the packet, which is too much for XDP.
constexpr std::array<std::string_view, 12> kEdits{"push_vlan", "pop_vlan",  "dec_ttl",   "set(eth)",
                                                  "set(vlan)", "set(ipv4)", "set(ipv6)", "set(arp)",
                                                  "set(tcp)",  "set(udp)",  "set(icmp)", "set(icmpv6)"};

bool IsEdit(const Action& action) { return std::ranges::find(kEdits, ActionName(action)) != kEdits.end(); }

// Nobody sees what is done after a drop.
Actions UpToDrop(const Actions& actions) {
  const auto drop = std::ranges::find_if(actions, [](const Action& a) { return std::holds_alternative<Drop>(a); });
  return {actions.begin(), drop};
}

// The packet may be sent by this action, or where it expires by it.
bool Sends(const Action& action) {
  const auto* dec = std::get_if<DecTtl>(&action);
  return IsTerminal(action) || (dec != nullptr && SendsAnything(dec->expired));
}

// Packets that expire here go nowhere, or to one place as they are.
bool IsSimple(const DecTtl& dec) {
  const Actions expired = UpToDrop(dec.expired);
  return expired.empty() || (expired.size() == 1 && IsTerminal(expired.front()));
}

}  // namespace

bool IsOutput(const Action& action) { return std::holds_alternative<Output>(action); }

bool IsTerminal(const Action& action) {
  return IsOutput(action) || std::holds_alternative<Flood>(action) || std::holds_alternative<ToController>(action);
}

bool SendsAnything(const Actions& actions) { return std::ranges::any_of(UpToDrop(actions), Sends); }

bool XdpCanDo(const Actions& all) {
  Actions actions = UpToDrop(all);
  for (const Action& action : actions) {
    if (!IsTerminal(action) && !IsEdit(action)) return false;
    if (const auto* dec = std::get_if<DecTtl>(&action); dec != nullptr && !IsSimple(*dec)) return false;
  }
  while (!actions.empty() && !Sends(actions.back())) actions.pop_back();
  const auto first = std::ranges::find_if(actions, IsTerminal);
  return std::distance(first, actions.end()) <= 1 || std::all_of(first, actions.end(), IsOutput);
}

// Tries every dec_ttl on the way with a list of its own, which sends an upcall.
Way WayOf(const Actions& all, const reference::Bytes& frame) {
  const Actions actions = UpToDrop(all);
  for (auto at = actions.begin(); at != actions.end() && !IsTerminal(*at); ++at) {
    const auto* dec = std::get_if<DecTtl>(&*at);
    if (dec == nullptr) continue;
    Actions way(actions.begin(), at);
    way.emplace_back(DecTtl{{ToController{}}});
    if (reference::Execute(way, frame, 1, {}).upcalls.empty()) continue;
    way.pop_back();
    const Actions expired = UpToDrop(dec->expired);
    way.insert(way.end(), expired.begin(), expired.end());
    return {way, true};
  }
  return {actions, false};
}

reference::Bytes Edited(const Way& way, const reference::Bytes& frame) {
  Actions edits(way.actions.begin(), std::ranges::find_if(way.actions, IsTerminal));
  edits.emplace_back(Output{1});
  return reference::Execute(edits, frame, 1, {}).emissions.front().frame;
}

}  // namespace sluice::compare
