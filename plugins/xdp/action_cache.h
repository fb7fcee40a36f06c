// SPDX-License-Identifier: Apache-2.0
// Compiled actions by their text: thousands of flows have few different ones.
#pragma once

#include <cstdint>
#include <string>
#include <unordered_map>

#include "flow_compiler.h"

namespace sluice::xdp {

// Session thread.
class ActionCache {
 public:
  // Texts name ports: with other ports (another `version`) they are to be compiled anew.
  void SetPorts(uint64_t version) {
    if (version != version_) compiled_.clear();
    version_ = version;
  }
  [[nodiscard]] const CompiledActions* Find(const std::string& text) const {
    const auto found = compiled_.find(text);
    return found == compiled_.end() ? nullptr : &found->second;
  }
  void Add(const std::string& text, const CompiledActions& actions) {
    if (actions.group != nullptr) return;  // it would be held for nobody
    if (compiled_.size() >= kMost) compiled_.clear();
    compiled_.emplace(text, actions);
  }

 private:
  static constexpr size_t kMost = 4096;

  std::unordered_map<std::string, CompiledActions> compiled_;
  uint64_t version_ = 0;
};

}  // namespace sluice::xdp
