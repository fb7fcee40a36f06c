// SPDX-License-Identifier: Apache-2.0
#include "ports.h"

#include <algorithm>

namespace sluice::xdp {

Ports::Outcome Ports::Put(const v1::Port& port, v1::FromPlugin& out) {
  const Outcome outcome = PutNow(port, out);
  LookAtTunnels(out);
  return outcome;
}

Ports::Outcome Ports::PutNow(const v1::Port& port, v1::FromPlugin& out) {
  const std::map<std::string, std::string> options(port.options().begin(), port.options().end());
  bool renumbered = false;
  // Two ports of one number can only be while the core tells everything anew: the older one is of its past.
  for (auto slot = slots_.begin(); slot != slots_.end();) {
    const bool same_name = slot->first == port.name();
    if (same_name == (slot->second.number == port.number())) {
      ++slot;
      continue;
    }
    renumbered = true;
    Close(slot->second, !same_name);
    slot = slots_.erase(slot);
  }
  auto found = slots_.find(port.name());
  if (found != slots_.end() && found->second.options == options && found->second.state == "up") {
    found->second.stale = false;
    Report(port.name(), found->second, out);
    return renumbered ? Outcome::kRenumbered : Outcome::kSame;
  }
  if (found != slots_.end()) {
    if (found->second.tunnel && found->second.options != options) told_.tunnels();
    Close(found->second, true);
    slots_.erase(found);
  }
  Slot& slot = slots_[port.name()];
  slot.number = port.number();
  slot.options = options;
  Result<void> parsed;
  if (TunnelSettings::Asked(options)) {
    auto tunnel = TunnelSettings::Parse(options);
    if (tunnel) {
      slot.tunnel = {port.number(), *std::move(tunnel)};
      LookAtTunnel(slot);
    } else {
      parsed = tunnel.error();
    }
  } else {
    const auto settings = PortSettings::Parse(options, defaults_);
    if (settings) {
      slot.settings = *settings;
      Open(port.name(), slot);
    } else {
      parsed = settings.error();
    }
  }
  if (!parsed) {
    slot.state = "failed";
    slot.detail = parsed.error().detail;
  }
  Report(port.name(), slot, out);
  if (!parsed) slots_.erase(port.name());  // no device that comes could make it right
  return renumbered ? Outcome::kRenumbered : Outcome::kDone;
}

void Ports::Open(const std::string& name, Slot& slot) {
  told_.opening();
  auto port = Port::Open(context_, name, slot.number, slot.settings);
  if (port) {
    slot.port = std::move(*port);
    slot.state = "up";
    slot.detail.clear();
    slot.failed_with.reset();
    by_serial_[slot.port->serial()] = slots_.find(name);
    return;
  }
  slot.state = "failed";
  slot.detail = port.error().detail;
  const auto device = QueryDevice(name);
  slot.failed_with = device ? std::pair{device->ifindex, device->program_id} : std::pair{0, 0U};
}

void Ports::Close(Slot& slot, bool withdraw) {
  if (slot.port == nullptr) return;
  if (withdraw) (void)slot.port->Withdraw();
  slot.port->Detach();
  told_.before(*slot.port);
  by_serial_.erase(slot.port->serial());
  slot.port.reset();
  told_.after();
}

void Ports::Delete(const std::string& name, v1::FromPlugin& out) {
  const auto found = slots_.find(name);
  if (found == slots_.end()) return;
  Close(found->second, true);
  slots_.erase(found);
  LookAtTunnels(out);
}

// True: what its steps are made of has changed.
bool Ports::LookAtTunnel(Slot& slot) {
  TunnelPort now = *slot.tunnel;
  const std::string& underlay = now.settings.underlay;
  const Port* port = underlay.empty() ? nullptr : ByName(underlay);
  now.underlay = port == nullptr ? 0 : port->number();
  now.ifindex = port == nullptr ? 0 : static_cast<uint32_t>(port->device().ifindex);
  now.mtu = port == nullptr ? 0 : port->device().mtu;
  const bool up = underlay.empty() || port != nullptr;
  slot.state = up ? "up" : "failed";
  slot.detail = up ? "" : "its underlay " + underlay + " has no device at present";
  const bool other = now != *slot.tunnel;
  slot.tunnel = std::move(now);
  return other;
}

void Ports::LookAtTunnels(v1::FromPlugin& out) {
  tunnels_ = 0;
  for (auto& [name, slot] : slots_) {
    if (!slot.tunnel) continue;
    const std::string before = slot.state;
    const bool other = LookAtTunnel(slot);
    tunnels_ += slot.state == "up" ? 1 : 0;
    if (other || slot.state != before) Report(name, slot, out);
    // A state that is another has the core tell its flows again by itself.
    if (other && slot.state == before) told_.tunnels();
  }
}

void Ports::OnLink(const LinkMonitor::Event& event, v1::FromPlugin& out) {
  for (auto& [name, slot] : slots_) {
    const bool has_it = slot.port != nullptr && slot.port->device().ifindex == event.ifindex;
    if (!has_it && event.name != name) continue;
    if (event.removed) {
      // Even if it is there again, number, program and all: the kernel has taken it out of the devmaps, and its queues
      // from the sockets.
      if (has_it) Lose(name, slot, out);
      slot.failed_with.reset();
    }
    Look(name, slot, out);
  }
  LookAtTunnels(out);
}

void Ports::OnAnyLink(v1::FromPlugin& out) {
  for (auto& [name, slot] : slots_) Look(name, slot, out);
  LookAtTunnels(out);
}

void Ports::Lose(const std::string& name, Slot& slot, v1::FromPlugin& out) {
  Close(slot, true);
  slot.state = "gone";
  slot.detail = "the device " + name + " is gone";
  slot.failed_with = std::pair{0, 0U};
  Report(name, slot, out);
}

void Ports::Look(const std::string& name, Slot& slot, v1::FromPlugin& out) {
  if (slot.tunnel) return;
  if (slot.port != nullptr) {
    std::string why;
    const Device before = slot.port->device();
    if (slot.port->Refresh(&why)) {
      const Device& now = slot.port->device();
      if (now.up != before.up || now.running != before.running || now.mtu != before.mtu) Report(name, slot, out);
      return;
    }
    const int ifindex = slot.port->device().ifindex;
    Close(slot, true);
    const auto device = QueryDevice(name);
    const bool gone = !device || device->ifindex != ifindex;
    if (!gone) slot.settings.replace = false;  // told once; no fight with whoever came after us
    slot.state = gone ? "gone" : "failed";
    slot.detail = why;
    slot.failed_with = gone ? std::pair{0, 0U} : std::pair{ifindex, device->program_id};
    Report(name, slot, out);
    if (!gone) return;
  }
  const auto device = QueryDevice(name);
  if (!device || slot.failed_with == std::pair{device->ifindex, device->program_id}) return;
  Open(name, slot);
  Report(name, slot, out);
}

void Ports::OnTick(v1::FromPlugin& out) {
  for (auto& [name, slot] : slots_) {
    if (slot.port == nullptr || slot.port->HasLostItsProgram()) Look(name, slot, out);
  }
  LookAtTunnels(out);
}

void Ports::MarkStale() {
  for (auto& [name, slot] : slots_) slot.stale = true;
}

void Ports::Synced(const std::string& epoch, v1::FromPlugin& out) {
  for (auto slot = slots_.begin(); slot != slots_.end();) {
    if (!slot->second.stale) {
      ++slot;
      continue;
    }
    Close(slot->second, true);
    slot = slots_.erase(slot);
  }
  (void)WithdrawKept();
  for (auto& [name, slot] : slots_) {
    if (slot.port == nullptr || !slot.port->IsTakingOver()) continue;
    const auto taken = slot.port->TakeOver(epoch);
    if (!taken) {
      slot.state = "failed";
      slot.detail = taken.error().detail;
      Close(slot, true);
    }
    Report(name, slot, out);
  }
  LookAtTunnels(out);
}

Result<void> Ports::WithdrawAll() {
  Result<void> outcome;
  for (auto& [name, slot] : slots_) {
    if (slot.port == nullptr) continue;
    auto withdrawn = slot.port->Withdraw();
    if (!withdrawn && outcome) outcome = withdrawn;
  }
  return outcome;
}

Result<void> Ports::WithdrawKept() {
  std::vector<std::string> others;
  for (const auto& [name, entry] : context_.kept.entries()) {
    if (ByName(name) == nullptr) others.push_back(name);
  }
  Result<void> outcome;
  for (const std::string& name : others) {
    auto withdrawn = context_.kept.Withdraw(name);
    if (!withdrawn && outcome) outcome = withdrawn;
  }
  return outcome;
}

Result<void> Ports::KeepAll() {
  Result<void> outcome;
  for (auto& [name, slot] : slots_) {
    if (slot.port == nullptr) continue;
    auto kept = slot.port->Keep();
    if (kept) continue;
    (void)slot.port->Withdraw();
    if (outcome) outcome = kept;
  }
  return outcome;
}

void Ports::ReportCounters(v1::FromPlugin& out) {
  for (auto& [name, slot] : slots_) {
    if (slot.port == nullptr) continue;
    v1::Port counted;
    slot.port->FillCounters(counted);
    std::map<std::string, uint64_t> counters(counted.counters().begin(), counted.counters().end());
    if (counters == slot.reported) continue;
    slot.reported = std::move(counters);
    // Without info: nothing but the counters is new.
    counted.set_name(name);
    counted.set_number(slot.number);
    counted.set_state(slot.state);
    counted.set_detail(slot.detail);
    *out.add_ports() = std::move(counted);
  }
}

void Ports::Report(const std::string& name, Slot& slot, v1::FromPlugin& out) const {
  v1::Port& port = *out.add_ports();
  port.set_name(name);
  port.set_number(slot.number);
  port.set_state(slot.state);
  port.set_detail(slot.detail);
  if (slot.tunnel) {
    const TunnelSettings& settings = slot.tunnel->settings;
    auto& info = *port.mutable_info();
    info["tunnel"] = settings.TypeName();
    if (settings.dst_port != 0) info["dst_port"] = std::to_string(settings.dst_port);
    info["csum"] = settings.CsumName();
    if (!settings.underlay.empty()) info["underlay"] = settings.underlay;
    if (slot.tunnel->mtu != 0) info["underlay_mtu"] = std::to_string(slot.tunnel->mtu);
    info["mtu_icmp"] = settings.mtu_icmp ? "yes" : "no";
  }
  if (slot.port == nullptr) return;
  slot.port->FillInfo(port);
  slot.port->FillCounters(port);
}

const TunnelPort* Ports::Tunnel(uint32_t number) const {
  const auto found = Find(number);
  if (found == slots_.end() || !found->second.tunnel || found->second.state != "up") return nullptr;
  return &*found->second.tunnel;
}

uint32_t Ports::Mtu(uint32_t number) const {
  const Port* port = ByNumber(number);
  return port == nullptr ? 0 : port->device().mtu;
}

Port* Ports::BySerial(uint64_t serial) const {
  const auto found = by_serial_.find(serial);
  return found == by_serial_.end() ? nullptr : found->second->second.port.get();
}

const std::string& Ports::NameOf(const Port& port) const { return by_serial_.at(port.serial())->first; }

}  // namespace sluice::xdp
