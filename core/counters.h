// SPDX-License-Identifier: Apache-2.0
// What happened how often, by name, as status tells it. Whatever is dropped or refused anywhere is counted here.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>

namespace sluice::core {

class Counters {
 public:
  void Add(std::string_view name, uint64_t by = 1) {
    auto it = values_.find(name);
    if (it == values_.end()) it = values_.emplace(name, 0).first;
    it->second += by;
  }
  // Reasons come from a closed set of words; what is unusual is cut.
  void AddReason(std::string_view prefix, std::string_view reason, uint64_t by = 1) {
    Add(std::string(prefix) + "." + std::string(reason.substr(0, 40)), by);
  }
  [[nodiscard]] const std::map<std::string, uint64_t, std::less<>>& values() const { return values_; }
  [[nodiscard]] uint64_t Of(std::string_view name) const {
    auto it = values_.find(name);
    return it == values_.end() ? 0 : it->second;
  }

 private:
  std::map<std::string, uint64_t, std::less<>> values_;
};

}  // namespace sluice::core
