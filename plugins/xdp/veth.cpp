// SPDX-License-Identifier: Apache-2.0
#include "veth.h"

#include <algorithm>
#include <functional>
#include <map>
#include <optional>
#include <utility>

#include "ethtool.h"
#include "netns.h"

namespace sluice::xdp {
namespace {

// Checksums that veth leaves to a receiver who, behind a redirect, does not know that they are missing. SCTP's
// segmentation leaves out its CRC too.
constexpr const char* kUnfinished[] = {"tx-checksum-ip-generic", "tx-checksum-ipv4", "tx-checksum-ipv6",
                                       "tx-checksum-sctp", "tx-sctp-segmentation"};
// Tags beside the packet instead of in it: XDP does not see them.
constexpr const char* kTagsAside[] = {"tx-vlan-hw-insert", "tx-vlan-stag-hw-insert"};
constexpr const char* kTagsTakenOff[] = {"rx-vlan-hw-parse", "rx-vlan-stag-hw-parse"};
constexpr const char* kGro = "rx-gro";

using Wanted = std::map<std::string, bool>;

// Asks for `on` of those features that are the other way round. What cannot be changed is named in `fixed`.
void Want(const Features& features, std::initializer_list<const char*> names, bool on, Wanted& wanted,
          std::vector<std::string>& fixed) {
  for (const char* name : names) {
    const auto found = features.find(name);
    if (found == features.end() || found->second.active == on) continue;
    if (found->second.changeable) {
      wanted[name] = on;
    } else {
      fixed.emplace_back(name);
    }
  }
}

template <size_t n>
void Want(const Features& features, const char* const (&names)[n], bool on, Wanted& wanted,
          std::vector<std::string>& fixed) {
  for (const char* name : names) Want(features, {name}, on, wanted, fixed);
}

// Sets what is wanted, one by one, so that one refusal does not keep the others back.
void Apply(const std::string& device, bool peer, const Wanted& wanted, Preparation& result) {
  for (const auto& [name, on] : wanted) {
    const auto set = SetFeatures(device, {{name, on}});
    if (set) {
      result.changes.push_back({peer, name, on});
    } else {
      result.warnings.push_back((peer ? "peer: " : "") + set.error().detail);
    }
  }
}

void PrepareSelf(const Device& device, Preparation& result) {
  const auto features = ReadFeatures(device.name);
  if (!features) return;  // a device without ethtool's features has none that hurt
  Wanted wanted;
  std::vector<std::string> fixed;
  Want(*features, kTagsTakenOff, false, wanted, fixed);
  if (!device.IsVeth() && !fixed.empty()) {
    result.warnings.push_back(device.name + " takes VLAN tags off before XDP sees them (" + fixed.front() +
                              " is fixed)");
  }
  Apply(device.name, false, wanted, result);
}

// In the peer's namespace.
void PreparePeer(const Device& device, const Device& peer, Preparation& result) {
  if (!peer.up) {
    result.warnings.push_back("peer " + peer.name + " is down: frames to it are lost until it is up");
  }
  if (peer.mtu < device.mtu) {
    result.warnings.push_back("peer " + peer.name + " has MTU " + std::to_string(peer.mtu) + ", less than " +
                              device.name + "'s " + std::to_string(device.mtu) + ": larger frames are lost");
  }
  const auto features = ReadFeatures(peer.name);
  if (!features) {
    result.warnings.push_back("peer: " + features.error().detail);
    return;
  }
  Wanted wanted;
  std::vector<std::string> fixed;
  Want(*features, kUnfinished, false, wanted, fixed);
  if (!fixed.empty()) {
    result.warnings.push_back("peer " + peer.name + " sends unfinished checksums (" + fixed.front() + " is fixed)");
    fixed.clear();
  }
  Want(*features, kTagsAside, false, wanted, fixed);
  // A native program on the peer does as well as GRO.
  if (peer.program_mode != "native") Want(*features, {kGro}, true, wanted, fixed);
  Apply(peer.name, true, wanted, result);
}

// Runs `work` where the veth's peer is. The peer's place, "in netns h1" (empty: here), goes with it.
Result<void> AtPeer(const Device& device,
                    const std::function<void(const Result<Device>& peer, const std::string& place)>& work) {
  if (!device.peer_nsid) {
    work(QueryDevice(device.peer_ifindex), "");
    return {};
  }
  const auto netns = FindNetns(*device.peer_nsid);
  if (!netns) return netns.error();
  return RunInNetns(netns->fd.get(), [&] { work(QueryDevice(device.peer_ifindex), " in " + netns->name); });
}

}  // namespace

std::string Preparation::Changed() const {
  std::string text;
  for (const auto& change : changes) {
    text += (text.empty() ? "" : ", ") + std::string(change.peer ? "peer " : "") + change.feature +
            (change.on ? " on" : " off");
  }
  return text;
}

Preparation PrepareDevice(const Device& device) {
  Preparation result;
  if (!device.up) result.warnings.push_back(device.name + " is down: nothing passes until it is up");
  PrepareSelf(device, result);
  if (!device.IsVeth()) return result;
  const auto reached = AtPeer(device, [&](const Result<Device>& peer, const std::string& place) {
    if (!peer) {
      result.warnings.push_back("the peer of " + device.name + " is not to be found: " + peer.error().detail);
      return;
    }
    result.peer = peer->name + place;
    PreparePeer(device, *peer, result);
  });
  if (!reached) {
    result.peer = "interface " + std::to_string(device.peer_ifindex) + " in a namespace out of reach";
    result.warnings.push_back("the peer of " + device.name + " could not be prepared (" + reached.error().detail +
                              "): run `ethtool -K DEVICE tx off txvlan off gro on` there, or frames redirected to it "
                              "and checksums of what it sends are lost");
  }
  return result;
}

uint32_t LargestMtu(const Device& device) {
  uint32_t mtu = device.mtu;
  if (!device.IsVeth()) return mtu;
  (void)AtPeer(device, [&](const Result<Device>& peer, const std::string&) {
    if (peer) mtu = std::max(mtu, peer->mtu);
  });
  return mtu;
}

namespace {

Result<void> UndoOn(const std::string& device, bool peer, const std::vector<SettingChange>& changes) {
  const auto features = ReadFeatures(device);
  if (!features) return {};
  Wanted wanted;
  for (const auto& change : changes) {
    if (change.peer != peer) continue;
    const auto found = features->find(change.feature);
    if (found != features->end() && found->second.requested == change.on) wanted[change.feature] = !change.on;
  }
  return wanted.empty() ? Result<void>{} : SetFeatures(device, wanted);
}

}  // namespace

Result<void> UndoChanges(const std::string& name, const std::vector<SettingChange>& changes) {
  if (changes.empty()) return {};
  const auto device = QueryDevice(name);
  if (!device) return {};
  Result<void> outcome = UndoOn(name, false, changes);
  const bool peer = std::any_of(changes.begin(), changes.end(), [](const auto& change) { return change.peer; });
  if (!peer || !device->IsVeth()) return outcome;
  const auto reached = AtPeer(*device, [&](const Result<Device>& other, const std::string&) {
    if (!other) return;
    auto undone = UndoOn(other->name, true, changes);
    if (!undone) outcome = undone;
  });
  return reached ? outcome : reached;
}

}  // namespace sluice::xdp
