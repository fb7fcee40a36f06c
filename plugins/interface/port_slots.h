// SPDX-License-Identifier: Apache-2.0
// A plugin's ports by name and number: those that the core has told it of, each with what the plugin has of it.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>

#include "sluice/flow_text.h"

namespace sluice {
inline namespace plugin_interface {

// `Slot` has a `number` and a `port`, a pointer that is nullptr while the port has no device. One thread.
template <typename Slot>
class PortSlots : public PortNames {
 public:
  using Slots = std::map<std::string, Slot, std::less<>>;
  using Port = typename decltype(Slot::port)::element_type;

  // With a device only; nullptr where there is none.
  [[nodiscard]] Port* ByNumber(uint32_t number) const {
    const auto found = Find(number);
    return found == slots_.end() ? nullptr : found->second.port.get();
  }
  [[nodiscard]] Port* ByName(std::string_view name) const {
    const auto found = slots_.find(name);
    return found == slots_.end() ? nullptr : found->second.port.get();
  }
  void ForEach(const std::function<void(Port& port)>& call) const {
    for (const auto& [name, slot] : slots_) {
      if (slot.port != nullptr) call(*slot.port);
    }
  }

  // PortNames: with a device or without.
  [[nodiscard]] std::optional<uint32_t> Number(std::string_view name) const override {
    const auto found = slots_.find(name);
    return found == slots_.end() ? std::nullopt : std::optional(found->second.number);
  }
  [[nodiscard]] std::optional<std::string> Name(uint32_t number) const override {
    const auto found = Find(number);
    return found == slots_.end() ? std::nullopt : std::optional(found->first);
  }
  [[nodiscard]] bool AcceptsUnknownNumbers() const override { return false; }

 protected:
  PortSlots() = default;

  [[nodiscard]] typename Slots::const_iterator Find(uint32_t number) const {
    auto found = slots_.begin();
    while (found != slots_.end() && found->second.number != number) ++found;
    return found;
  }

  Slots slots_;
};

}  // namespace plugin_interface
}  // namespace sluice
