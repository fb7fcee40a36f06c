// SPDX-License-Identifier: Apache-2.0
// A copy of the core's flow table, kept by feeding it all that a Monitor with a snapshot tells.
//
// Plain data, one thread at a time.
#pragma once

#include <cstdint>
#include <string>
#include <unordered_map>

#include "sluice/monitor.h"

namespace sluice {

class FlowMirror {
 public:
  // True if a flow was added, changed or removed. Of two states of a flow that with the higher sequence number wins.
  bool Apply(const MonitorItem& item);

  // The copy is the core's table, as far as events have come.
  [[nodiscard]] bool synced() const { return synced_; }
  [[nodiscard]] size_t size() const { return flows_.size(); }
  // nullptr where there is none; valid until the next Apply.
  [[nodiscard]] const v1::Flow* Find(const std::string& ufid) const;
  template <typename Visit>
  void ForEach(Visit visit) const {
    for (const auto& [ufid, entry] : flows_) visit(entry.flow);
  }

 private:
  struct Entry {
    v1::Flow flow;
    uint64_t as_of = 0;
    uint64_t walk = 0;  // in which it was last seen
  };

  bool ApplyEvent(const v1::Event& event);
  bool Put(const v1::Flow& flow, uint64_t as_of);
  bool Remove(const std::string& ufid, uint64_t as_of);
  bool RemoveUnseen();
  void Forget();

  std::unordered_map<std::string, Entry> flows_;
  uint64_t walk_ = 0;
  bool synced_ = false;
};

}  // namespace sluice
