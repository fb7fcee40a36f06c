// SPDX-License-Identifier: Apache-2.0
// The flows that packets of one port can meet, and those among them that would have, had the port's plugin taken them.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "sluice/flow_text.h"
#include "sluice/sluice.pb.h"
#include "sluice/ufid.h"
#include "soft/packet.h"

namespace sluice::ctl {

// Flows with one mask are together by the hash of their masked key, so that a packet costs a look for each mask. A flow
// is kept as it travels: a table of a million fits into memory.
class TraceTable {
 public:
  // `names` must outlive the table.
  TraceTable(const PortNames& names, uint32_t in_port) : names_(names), in_port_(in_port) {}

  // As the chunks of a snapshot have them: a flow may come again, the newer one counts. Flows of other ports are passed
  // over.
  void Put(const v1::Flow& flow);
  void Remove(std::string_view ufid);

  // Every flow that matches, in a device or not: the highest priority first, then by ufid. Valid until the next change.
  [[nodiscard]] std::vector<const v1::Flow*> Matching(const soft::Parsed& packet) const;

  [[nodiscard]] size_t size() const { return flows_.size(); }
  // Flows with a match that is not understood (of a newer daemon); they are not in the table.
  [[nodiscard]] size_t unreadable() const { return unreadable_; }

 private:
  struct Masked {
    FlowKeyBytes mask{};
    std::unordered_multimap<size_t, const v1::Flow*> flows;
  };
  struct Place {
    v1::Flow flow;
    size_t mask = 0;  // in masks_
    size_t hash = 0;
  };

  size_t MaskPlace(const FlowKeyBytes& mask);

  const PortNames& names_;
  uint32_t in_port_;
  std::vector<Masked> masks_;
  std::unordered_map<std::string, size_t> mask_places_;  // by the mask's bytes
  size_t last_mask_ = 0;
  std::unordered_map<Ufid, Place> flows_;
  size_t unreadable_ = 0;
};

}  // namespace sluice::ctl
