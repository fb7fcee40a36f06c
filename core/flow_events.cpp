// SPDX-License-Identifier: Apache-2.0
#include "flow_events.h"

#include "flow_spec.h"

namespace sluice::core {

void FlowEvents::Tell(Topic topic, Flow& flow) {
  if (v1::Event* event = events_.Add(topic, flow.shown_seq)) {
    ShowFlow(flow, ports_, *plugin_names_, clock_(), *event->mutable_flow());
  }
}

void FlowEvents::OnAdded(Flow& flow) {
  ageing_->Arm(flow);
  Tell(Topic::flow_add, flow);
}

void FlowEvents::OnModified(Flow& flow) {
  ageing_->Arm(flow);
  Tell(Topic::flow_mod, flow);
}

void FlowEvents::OnDeleted(Flow& flow) {
  // Where a deleted flow stands is nowhere.
  static const std::vector<std::string> kNoPlugins;
  flow.shown_seq = sequence_.Next();
  if (v1::Event* event = events_.Add(Topic::flow_del, flow.shown_seq)) {
    event->set_cause(std::string(CauseName(flow.cause)));
    ShowFlow(flow, ports_, kNoPlugins, clock_(), *event->mutable_flow());
  }
}

void FlowEvents::OnOffload(Flow& flow) {
  flow.shown_seq = sequence_.Next();
  Tell(Topic::flow_offload, flow);
}

void FlowEvents::OnCounted(Flow& flow) {
  flow.shown_seq = sequence_.Next();
  Tell(Topic::flow_stats, flow);
}

}  // namespace sluice::core
