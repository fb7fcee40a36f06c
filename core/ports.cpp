// SPDX-License-Identifier: Apache-2.0
#include "ports.h"

#include <algorithm>
#include <array>
#include <cctype>

namespace sluice::core {
namespace {

constexpr size_t kMaxPortName = 63;

// What flow text would read as something else.
constexpr std::array<std::string_view, 15> kReserved = {"drop",     "flood",     "controller", "upcall",  "userspace",
                                                        "pop_vlan", "push_vlan", "set",        "dec_ttl", "recirc",
                                                        "ct",       "ct_clear",  "trunc",      "tnl_pop", "tnl_push"};

Result<void> CheckName(const std::string& name) {
  const auto allowed = [](unsigned char c) {
    return std::isalnum(c) != 0 || c == '_' || c == '-' || c == '.' || c == '@' || c == '+';
  };
  std::string what;
  if (name.empty() || name.size() > kMaxPortName) {
    what = "has to have 1 to " + std::to_string(kMaxPortName) + " characters";
  } else if (!std::all_of(name.begin(), name.end(), allowed)) {
    what = "may have letters, digits and _ - . @ + only";
  } else if (std::all_of(name.begin(), name.end(), [](unsigned char c) { return std::isdigit(c) != 0; })) {
    what = "may not be a number: flows could mean a port's number by it";
  } else if (std::find(kReserved.begin(), kReserved.end(), name) != kReserved.end()) {
    what = "is the name of an action";
  } else {
    return {};
  }
  return Error{"bad_port_name", "port name '" + name.substr(0, kMaxPortName) + "' " + what, 0, 0};
}

}  // namespace

std::optional<uint32_t> Ports::Names::Number(std::string_view name) const {
  auto it = ports_.numbers_.find(name);
  if (it == ports_.numbers_.end() || (live_only_ && !ports_.IsLive(it->second))) return std::nullopt;
  return it->second;
}

std::optional<std::string> Ports::Names::Name(uint32_t number) const {
  auto it = ports_.slots_.find(number);
  if (it == ports_.slots_.end() || (live_only_ && it->second.entry == nullptr)) return std::nullopt;
  return it->second.name;
}

Ports::~Ports() {
  for (const auto& entry : removed_) journal_.Remove(*entry);
  for (const auto& [number, slot] : slots_) {
    if (slot.entry != nullptr) journal_.Remove(*slot.entry);
  }
}

bool Ports::IsLive(uint32_t number) const {
  auto it = slots_.find(number);
  return it != slots_.end() && it->second.entry != nullptr;
}

// The lowest free number, so that plugins can index by it.
uint32_t Ports::NumberFor(const std::string& name) {
  if (auto it = numbers_.find(name); it != numbers_.end()) return it->second;
  uint32_t number = 1;
  for (const auto& [taken, slot] : slots_) {
    if (taken != number) break;
    ++number;
  }
  slots_[number].name = name;
  numbers_[name] = number;
  return number;
}

Result<PortEntry*> Ports::Add(const std::string& name, const std::string& plugin,
                              const std::map<std::string, std::string>& options) {
  if (auto valid = CheckName(name); !valid) return valid.error();
  if (Find(name) != nullptr) return Error{"port_exists", "there is a port " + name + " already", 0, 0};
  const uint32_t number = NumberFor(name);
  auto& slot = slots_[number];
  slot.entry = std::make_unique<PortEntry>();
  ++generation_;
  v1::Port& port = slot.entry->port;
  port.set_name(name);
  port.set_number(number);
  port.set_plugin(plugin);
  port.set_state("pending");
  port.mutable_options()->insert(options.begin(), options.end());
  journal_.Append(*slot.entry);
  return slot.entry.get();
}

bool Ports::Remove(PortEntry& entry) {
  auto slot = slots_.find(entry.port.number());
  auto owned = std::move(slot->second.entry);
  ++generation_;
  DropIfUnused(slot);
  if (!entry.offered) {
    journal_.Remove(entry);
    return true;
  }
  entry.kind = EntryKind::port_tombstone;
  journal_.Touch(entry);
  removed_.push_back(std::move(owned));
  return false;
}

std::vector<std::string> Ports::Confirm(const std::string& plugin, uint64_t batch) {
  std::vector<std::string> names;
  std::erase_if(removed_, [&](const auto& entry) {
    if (entry->port.plugin() != plugin || entry->removal_batch == 0 || entry->removal_batch > batch) return false;
    names.push_back(entry->port.name());
    journal_.Remove(*entry);
    return true;
  });
  return names;
}

std::vector<std::string> Ports::Forget(const std::string& plugin, const std::string& detail) {
  std::vector<std::string> names;
  std::erase_if(removed_, [&](const auto& entry) {
    if (entry->port.plugin() != plugin) return false;
    names.push_back(entry->port.name());
    journal_.Remove(*entry);
    return true;
  });
  for (PortEntry* entry : Of(plugin)) {
    entry->offered = false;
    entry->reported = false;
    entry->port.set_state("pending");
    entry->port.set_detail(detail);
    entry->port.clear_info();
  }
  return names;
}

PortEntry* Ports::Find(const std::string& name) const {
  auto it = numbers_.find(name);
  return it == numbers_.end() ? nullptr : slots_.at(it->second).entry.get();
}

std::vector<PortEntry*> Ports::All() const {
  std::vector<PortEntry*> all;
  for (const auto& [number, slot] : slots_) {
    if (slot.entry != nullptr) all.push_back(slot.entry.get());
  }
  return all;
}

std::vector<PortEntry*> Ports::Of(const std::string& plugin) const {
  std::vector<PortEntry*> all = All();
  std::erase_if(all, [&](const PortEntry* entry) { return entry->port.plugin() != plugin; });
  return all;
}

size_t Ports::size() const { return All().size(); }

void Ports::Reference(uint32_t number, int by) {
  auto slot = slots_.find(number);
  if (slot == slots_.end()) return;
  slot->second.references += by;
  if (by < 0) DropIfUnused(slot);
}

void Ports::Hold(const Flow& flow) {
  for (uint32_t i = 0; i < flow.PortCount(); ++i) Reference(flow.PortAt(i), 1);
}

void Ports::Release(const Flow& flow) {
  for (uint32_t i = 0; i < flow.PortCount(); ++i) Reference(flow.PortAt(i), -1);
}

void Ports::DropIfUnused(std::map<uint32_t, Slot>::iterator slot) {
  if (slot->second.references != 0 || slot->second.entry != nullptr) return;
  numbers_.erase(slot->second.name);
  slots_.erase(slot);
}

}  // namespace sluice::core
