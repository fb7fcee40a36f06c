// SPDX-License-Identifier: Apache-2.0
// The flows that packets of one port can meet in any of their passes, and those among them that would have, had the
// port's plugin taken them.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
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
  // `names` must outlive the table. `in_ports`: the port, and the tunnel ports by which its packets may come in again.
  TraceTable(const PortNames& names, std::vector<uint32_t> in_ports) : names_(names), in_ports_(std::move(in_ports)) {}

  // As the chunks of a snapshot have them: a flow may come again, the newer one counts. Flows of other ports are passed
  // over.
  void Put(const v1::Flow& flow);
  void Remove(std::string_view ufid);

  // Every flow that matches, in a device or not: the highest priority first, then by ufid. Valid until the next change.
  [[nodiscard]] std::vector<const v1::Flow*> Matching(const soft::Parsed& packet) const;

  // Whether a flow, in a device or not, has this very recirc_id.
  [[nodiscard]] bool HasRecircId(uint32_t recirc_id) const { return recirc_ids_.contains(recirc_id); }

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
    uint32_t recirc_id = 0;
  };

  // A flow that says nothing of recirc_id is for 0; nullopt: it is not understood.
  [[nodiscard]] std::optional<Match> MatchOf(const v1::Flow& flow) const;
  size_t MaskPlace(const FlowKeyBytes& mask);

  const PortNames& names_;
  std::vector<uint32_t> in_ports_;
  std::vector<Masked> masks_;
  std::unordered_map<std::string, size_t> mask_places_;  // by the mask's bytes
  size_t last_mask_ = 0;
  std::unordered_map<Ufid, Place> flows_;
  std::unordered_map<uint32_t, size_t> recirc_ids_;  // how many flows have it
  size_t unreadable_ = 0;
};

}  // namespace sluice::ctl
