// SPDX-License-Identifier: Apache-2.0
// A flow table with what it needs, and a record of what it told.
#pragma once

#include <string>
#include <vector>

#include "flow_table.h"
#include "ports.h"

namespace sluice::core::test {

inline Ufid UfidOf(uint32_t number) {
  Ufid ufid;
  for (size_t i = 0; i < 4; ++i) ufid.bytes[i] = static_cast<uint8_t>(number >> (8 * i));
  return ufid;
}

inline FlowSpec SpecOf(uint32_t number, const std::string& match, const std::string& actions = "drop") {
  FlowSpec spec;
  spec.ufid = UfidOf(number);
  spec.match = match;
  spec.actions = actions;
  return spec;
}

class Record : public FlowObserver {
 public:
  void OnAdded(Flow& flow) override { Note("add", flow); }
  void OnModified(Flow& flow) override { Note("mod", flow); }
  void OnDeleted(Flow& flow) override {
    Note("del", flow);
    deleted_packets = flow.packets;
    cause = flow.cause;
  }
  void OnOffload(Flow& flow) override { Note("offload", flow); }
  void OnCounted(Flow& flow) override { Note("stats", flow); }

  // "add 1", "del 1": by the first byte of the ufid.
  std::vector<std::string> told;
  uint64_t deleted_packets = 0;
  Cause cause = Cause::flush;

  std::vector<std::string> Take() { return std::exchange(told, {}); }

 private:
  void Note(const std::string& what, const Flow& flow) {
    told.push_back(what + " " + std::to_string(flow.ufid.bytes[0]));
  }
};

struct TableRig {
  explicit TableRig(FlowLimits limits = {}) : table(journal, record, limits) {}
  Sequence sequence;
  Journal journal{sequence};
  Record record;
  Ports ports{journal};
  FlowTable table;
};

}  // namespace sluice::core::test
