// SPDX-License-Identifier: Apache-2.0
#include "port_numbers.h"

namespace sluice::ctl {

PortNumbers::PortNumbers(const google::protobuf::RepeatedPtrField<v1::Port>& ports, Unknown unknown)
    : unknown_(unknown) {
  for (const v1::Port& port : ports) {
    numbers_[port.name()] = port.number();
    names_[port.number()] = port.name();
  }
}

std::optional<uint32_t> PortNumbers::Number(std::string_view name) const {
  const auto known = numbers_.find(name);
  if (known != numbers_.end()) return known->second;
  if (unknown_ == Unknown::kRefused) return std::nullopt;
  numbers_.emplace(name, next_);
  names_.emplace(next_, name);
  return next_++;
}

std::optional<std::string> PortNumbers::Name(uint32_t number) const {
  const auto known = names_.find(number);
  return known == names_.end() ? std::nullopt : std::optional(known->second);
}

}  // namespace sluice::ctl
