// SPDX-License-Identifier: Apache-2.0
// The ports that the core gave to this plugin, whether their devices are there or not.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "interface/port_slots.h"
#include "port.h"
#include "sluice/sluice.pb.h"
#include "tunnel.h"

namespace sluice::xdp {

struct PortSlot {
  uint32_t number = 0;
  PortSettings settings;
  std::map<std::string, std::string> options;
  std::string state;   // as in v1::Port
  std::string detail;  // why not up
  std::unique_ptr<Port> port;
  std::optional<TunnelPort> tunnel;  // it is one, and never has a device
  bool stale = false;
  std::map<std::string, uint64_t> reported;
  // What the device was like when opening it failed; no other try until it is different.
  std::optional<std::pair<int, uint32_t>> failed_with;  // ifindex, program id
};

// Session thread. Reports of a port's state go into the FromPlugin given.
class Ports : public PortSlots<PortSlot> {
 public:
  // `opening`: before a device is opened, which takes a while. `before`: before a port goes, when no packet meets it
  // any more and its table's last statistics are there to be read. `after`: when it has gone. `tunnels`: flows that
  // lead to a tunnel port have to be made anew.
  struct Told {
    std::function<void()> opening;
    std::function<void(Port&)> before;
    std::function<void()> after;
    std::function<void()> tunnels;
  };
  Ports(PortContext context, PortSettings defaults, Told told)
      : context_(std::move(context)), defaults_(std::move(defaults)), told_(std::move(told)) {}

  enum class Outcome {
    kSame,        // known already, nothing changed
    kDone,        // opened, or failed and said so
    kRenumbered,  // as kDone, and numbers have another meaning now: flows put before are not to be trusted
  };
  Outcome Put(const v1::Port& port, v1::FromPlugin& out);
  void Delete(const std::string& name, v1::FromPlugin& out);
  // A device changed, or any may have: ports go and come with theirs.
  void OnLink(const LinkMonitor::Event& event, v1::FromPlugin& out);
  void OnAnyLink(v1::FromPlugin& out);

  // From time to time: what happens to programs without word of it.
  void OnTick(v1::FromPlugin& out);

  void MarkStale();
  // Deletes ports still stale, and what earlier runs kept for ports that are not wanted any more; takes the wanted
  // over.
  void Synced(const std::string& epoch, v1::FromPlugin& out);
  // Undoes what was done for each port. Errors are those of the first that could not.
  Result<void> WithdrawAll();
  // Undoes what earlier runs kept for other ports.
  Result<void> WithdrawKept();
  // Leaves every port forwarding. A port that cannot be kept is withdrawn, and the error is of the first such.
  Result<void> KeepAll();

  // Those whose counters changed since the last call.
  void ReportCounters(v1::FromPlugin& out);

  // Of an open port; nullptr where there is none.
  [[nodiscard]] Port* BySerial(uint64_t serial) const;
  [[nodiscard]] const std::string& NameOf(const Port& port) const;
  // A tunnel port that is up, or nullptr.
  [[nodiscard]] const TunnelPort* Tunnel(uint32_t number) const;
  [[nodiscard]] bool HasTunnels() const { return tunnels_ != 0; }  // that are up
  // Of the port's device; 0 where it has none.
  [[nodiscard]] uint32_t Mtu(uint32_t number) const;

 private:
  using Slot = PortSlot;

  Outcome PutNow(const v1::Port& port, v1::FromPlugin& out);
  void Open(const std::string& name, Slot& slot);
  void Close(Slot& slot, bool withdraw);
  void Look(const std::string& name, Slot& slot, v1::FromPlugin& out);
  void Lose(const std::string& name, Slot& slot, v1::FromPlugin& out);
  void Report(const std::string& name, Slot& slot, v1::FromPlugin& out) const;
  // After any port came, went or changed: tunnel ports depend on their underlay.
  void LookAtTunnels(v1::FromPlugin& out);
  bool LookAtTunnel(Slot& slot);

  PortContext context_;
  PortSettings defaults_;
  Told told_;
  std::map<uint64_t, Slots::iterator> by_serial_;
  size_t tunnels_ = 0;  // up
};

}  // namespace sluice::xdp
