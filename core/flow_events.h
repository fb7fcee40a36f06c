// SPDX-License-Identifier: Apache-2.0
// What the table tells becomes events, references to ports, and deadlines.
#pragma once

#include <string>
#include <vector>

#include "ageing.h"
#include "clock.h"
#include "event_stream.h"
#include "flow_table.h"
#include "ports.h"

namespace sluice::core {

class FlowEvents : public FlowObserver {
 public:
  FlowEvents(Sequence& sequence, EventStream& events, Ports& ports, Clock clock)
      : sequence_(sequence), events_(events), ports_(ports), clock_(std::move(clock)) {}
  // Made after the table, which is made with this: told before anything happens.
  void Connect(Ageing& ageing, const std::vector<std::string>& plugin_names) {
    ageing_ = &ageing;
    plugin_names_ = &plugin_names;
  }

  void OnAdded(Flow& flow) override;
  void OnModified(Flow& flow) override;
  void OnDeleted(Flow& flow) override;
  void OnOffload(Flow& flow) override;
  void OnCounted(Flow& flow) override;
  void OnLinked(const Flow& flow) override { ports_.Hold(flow); }
  void OnUnlinked(const Flow& flow) override { ports_.Release(flow); }

 private:
  void Tell(Topic topic, Flow& flow);

  Sequence& sequence_;
  EventStream& events_;
  Ports& ports_;
  Clock clock_;
  Ageing* ageing_ = nullptr;
  const std::vector<std::string>* plugin_names_ = nullptr;
};

}  // namespace sluice::core
