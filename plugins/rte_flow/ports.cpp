// SPDX-License-Identifier: Apache-2.0
#include "ports.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "quirks.h"

namespace sluice::rteflow {
namespace {

constexpr unsigned kLongestWait = 50;  // ticks of 600 ms

}  // namespace

bool Ports::Put(const v1::Port& told, v1::FromPlugin& out) {
  const std::map<std::string, std::string> options(told.options().begin(), told.options().end());
  bool renumbered = false;
  // Two ports of one number can only be while the core tells everything anew: the older one is of its past.
  for (auto slot = slots_.begin(); slot != slots_.end();) {
    const bool same_name = slot->first == told.name();
    if (same_name == (slot->second.number == told.number())) {
      ++slot;
      continue;
    }
    renumbered = true;
    Close(slot->second);
    slot = slots_.erase(slot);
  }
  Slot& slot = slots_[told.name()];
  slot.stale = false;
  if (slot.state != "up" || slot.options != options) {
    Close(slot);
    slot.number = told.number();
    slot.options = options;
    Open(told.name(), slot);
  }
  Report(told.name(), slot, out);
  return renumbered;
}

void Ports::Open(const std::string& name, Slot& slot) {
  slot.state = "failed";
  slot.missing = false;
  const auto settings = PortSettings::Parse(slot.options, defaults_);
  if (!settings) {
    slot.detail = settings.error().detail;
    return;
  }
  told_.opening();
  auto device = EthDevice::Open(*settings, told_.removed);
  if (!device) {
    slot.detail = device.error().detail;
    slot.missing = device.error().reason == "no_such_device";
    return;
  }
  slot.missing = false;
  slot.next_wait = 1;
  auto port = std::make_unique<Port>();
  port->name = name;
  port->number = slot.number;
  port->settings = *settings;
  port->device = std::move(*device);
  port->driver = port->device->driver();
  port->interface = port->device->interface();
  const uint16_t id = port->device->id();
  if (settings->offload != PortSettings::Offload::kNone) {
    const Quirks& quirks = QuirksOf(port->driver);
    Offloader::Settings offload;
    offload.ethdev = id;
    offload.port_item = settings->port_item;
    offload.uncounted = settings->uncounted;
    offload.queues = port->device->queues();
    offload.full = settings->offload == PortSettings::Offload::kFull;
    offload.tag_type = quirks.tag_type;
    offload.rss = settings->rss == PortSettings::Rss::kByDriver ? quirks.rss : settings->rss == PortSettings::Rss::kYes;
    // A device can send to those of its own kind at most; whether it really does, it says when asked.
    offload.ethdev_of = [this, driver = port->driver](uint32_t number) -> std::optional<uint16_t> {
      const Port* other = ByNumber(number);
      if (other == nullptr || other->driver != driver) return std::nullopt;
      return other->device->id();
    };
    port->api = std::make_unique<EthdevFlowApi>(id);
    port->offloader = std::make_unique<Offloader>(std::move(offload), *port->api);
    if (quirks.readback == Readback::kTc) {
      auto readback = TapReadback::Open(port->device->interface_index(),
                                        settings->tagged ? TaggedFrames::kPossible : TaggedFrames::kNever);
      if (!readback) {
        slot.detail = readback.error().detail;
        return;
      }
      port->readback = *std::move(readback);
    }
  }
  datapath_.AddPort({.number = slot.number,
                     .ethdev = id,
                     .rx_queues = port->device->queues(),
                     .miss = settings->miss,
                     .upcall_rate = settings->upcall_rate,
                     .upcall_bytes = settings->upcall_bytes});
  slot.port = std::move(port);
  slot.state = "up";
  slot.detail.clear();
}

// Rules first, while the device still runs; then nobody polls it; then it stops.
void Ports::Close(Slot& slot) {
  if (slot.port == nullptr) return;
  told_.before(*slot.port);
  datapath_.RemovePort(slot.port->number);
  datapath_.WaitFor(datapath_.Fence());
  slot.port.reset();
}

void Ports::Delete(const std::string& name) {
  const auto found = slots_.find(name);
  if (found == slots_.end()) return;
  Close(found->second);
  slots_.erase(found);
}

void Ports::Fail(const std::string& name, const std::string& why, v1::FromPlugin& out) {
  const auto found = slots_.find(name);
  if (found == slots_.end()) return;
  Close(found->second);
  found->second.state = "failed";
  found->second.detail = why;
  Report(name, found->second, out);
}

void Ports::MarkStale() {
  for (auto& [name, slot] : slots_) slot.stale = true;
}

void Ports::DeleteStale() {
  for (auto slot = slots_.begin(); slot != slots_.end();) {
    if (slot->second.stale) {
      Close(slot->second);
      slot = slots_.erase(slot);
    } else {
      ++slot;
    }
  }
}

void Ports::Clear() {
  for (auto& [name, slot] : slots_) Close(slot);
  slots_.clear();
}

void Ports::Look(v1::FromPlugin& out, bool tick) {
  for (auto& [name, slot] : slots_) {
    if (slot.port == nullptr) {
      if (tick && slot.missing && slot.wait-- == 0) TryAgain(name, slot, out);
    } else if (slot.port->device->IsRemoved()) {
      Close(slot);
      slot.state = "gone";
      slot.detail = "the device of " + name + " is gone: its driver said so";
      slot.missing = true;
      slot.wait = slot.next_wait = 1;
      Report(name, slot, out);
    } else if (tick && InfoOf(*slot.port) != slot.info) {
      Report(name, slot, out);
    }
  }
}

void Ports::TryAgain(const std::string& name, Slot& slot, v1::FromPlugin& out) {
  const std::string state = slot.state;
  const std::string detail = slot.detail;
  Open(name, slot);
  if (slot.port == nullptr) {
    slot.state = state;
    slot.next_wait = std::min(slot.next_wait * 2, kLongestWait);
    slot.wait = slot.next_wait;
    if (slot.detail == detail) return;
  }
  Report(name, slot, out);
}

std::map<std::string, std::string> Ports::InfoOf(const Port& port) const {
  std::map<std::string, std::string> info;
  info["mode"] = info["driver"] = port.driver;  // `port list` has a column for the mode
  if (!port.interface.empty()) info["interface"] = port.interface;
  info["link"] = port.device->Link();
  info["queues"] = std::to_string(port.device->queues());
  info["miss"] = port.settings.miss == MissPolicy::kDrop ? "drop" : "upcall";
  if (port.offloader != nullptr) info.merge(port.offloader->Learnt());
  return info;
}

std::map<std::string, uint64_t> Ports::CountersOf(const Port& port) const {
  const DatapathPortCounters loop = datapath_.Counters(port.number);
  const rte_eth_stats device = port.device->Stats();
  return {
      {"rx_packets", loop.rx_packets},
      {"rx_bytes", loop.rx_bytes},
      {"marked", loop.marked},
      {"stale_mark", loop.stale_mark},
      {"hit_software", loop.hit_software},
      {"miss", loop.miss},
      {"malformed", loop.malformed},
      {"forwarded", loop.forwarded},
      {"tx_packets", loop.tx_packets},
      {"tx_bytes", loop.tx_bytes},
      {"tx_full", loop.tx_full},
      {"no_port", loop.no_port},
      {"no_buffer", loop.no_buffer},
      {"dropped", loop.dropped},
      {"ttl_expired", loop.ttl_expired},
      {"upcall", loop.upcall},
      {"upcall_rate", loop.upcall_rate},
      {"upcall_full", loop.upcall_full},
      {"packet_out", loop.packet_out},
      {"packet_out_failed", loop.packet_out_failed},
      {"device_rx_missed", device.imissed},
      {"device_rx_errors", device.ierrors},
      {"device_rx_no_buffer", device.rx_nombuf},
      {"offload_attempts_refused", port.offloader != nullptr ? port.offloader->refused_attempts() : 0},
  };
}

void Ports::ReportCounters(v1::FromPlugin& out) {
  for (auto& [name, slot] : slots_) {
    if (slot.port == nullptr) continue;
    auto counters = CountersOf(*slot.port);
    if (counters == slot.counters) continue;
    slot.counters = std::move(counters);
    // Without info: nothing but the counters is new.
    v1::Port& port = *out.add_ports();
    port.set_name(name);
    port.set_number(slot.number);
    port.set_state(slot.state);
    port.set_detail(slot.detail);
    for (const auto& [counter, value] : slot.counters) (*port.mutable_counters())[counter] = value;
  }
}

void Ports::Report(const std::string& name, Slot& slot, v1::FromPlugin& out) const {
  v1::Port& port = *out.add_ports();
  port.set_name(name);
  port.set_number(slot.number);
  port.set_state(slot.state);
  port.set_detail(slot.detail);
  if (slot.port == nullptr) return;
  slot.info = InfoOf(*slot.port);
  slot.counters = CountersOf(*slot.port);
  for (const auto& [key, value] : slot.info) (*port.mutable_info())[key] = value;
  for (const auto& [counter, value] : slot.counters) (*port.mutable_counters())[counter] = value;
}

}  // namespace sluice::rteflow
