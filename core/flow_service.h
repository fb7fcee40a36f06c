// SPDX-License-Identifier: Apache-2.0
// Requests about flows and packets, from control and ingress alike. Each flow stands for itself: those that are wrong
// are refused, one by one, and the others accepted.
#pragma once

#include "action_texts.h"
#include "counters.h"
#include "flow_table.h"
#include "plugins.h"
#include "ports.h"

namespace sluice::core {

class FlowService {
 public:
  FlowService(Sequence& sequence, FlowTable& table, Ports& ports, Plugins& plugins, Counters& counters, Clock clock)
      : sequence_(sequence),
        table_(table),
        ports_(ports),
        plugins_(plugins),
        counters_(counters),
        clock_(std::move(clock)),
        action_texts_(ports) {}

  // Each fills accepted and refused, ok, reason and detail. `tell`: also what a requester wants to know (ufids, flows).
  void Put(const v1::FlowPut& request, bool must_exist, bool tell, v1::Reply& reply);
  void Delete(const v1::FlowDel& request, bool tell, v1::Reply& reply);
  void Flush(const v1::FlowFlush& request, v1::Reply& reply);
  void PacketOut(v1::PacketOut packet, v1::Reply& reply);
  // Moves them away.
  void PacketOuts(google::protobuf::RepeatedPtrField<v1::PacketOut>& packets, v1::Reply& reply);
  void Get(const v1::FlowGet& request, v1::Reply& reply);

 private:
  [[nodiscard]] Result<Flow*> Named(const v1::FlowKey& key) const;
  Result<void> Send(v1::PacketOut packet);
  static void Refuse(v1::Reply& reply, uint32_t index, const std::string& ufid, const Error& error);
  void Conclude(v1::Reply& reply);

  Sequence& sequence_;
  FlowTable& table_;
  Ports& ports_;
  Plugins& plugins_;
  Counters& counters_;
  Clock clock_;
  ActionTexts action_texts_;
};

}  // namespace sluice::core
