// SPDX-License-Identifier: Apache-2.0
// Port names as the daemon has them: numbers without a name are unknown.
#pragma once

#include <map>
#include <utility>

#include "sluice/flow_text.h"

namespace sluice {

class NamedPorts : public PortNames {
 public:
  explicit NamedPorts(std::map<uint32_t, std::string> names) : names_(std::move(names)) {}

  [[nodiscard]] std::optional<uint32_t> Number(std::string_view name) const override {
    for (const auto& [number, known] : names_) {
      if (known == name) return number;
    }
    return std::nullopt;
  }
  [[nodiscard]] std::optional<std::string> Name(uint32_t number) const override {
    const auto found = names_.find(number);
    return found == names_.end() ? std::nullopt : std::optional(found->second);
  }
  [[nodiscard]] bool AcceptsUnknownNumbers() const override { return false; }

 private:
  std::map<uint32_t, std::string> names_;
};

}  // namespace sluice
