// SPDX-License-Identifier: Apache-2.0
// The rte_flow calls of one ethdev that this plugin makes. EthdevFlowApi makes them; tests put another in its place.
//
// One thread at a time.
#pragma once

#include <rte_flow.h>

#include <cstdint>

namespace sluice::rteflow {

// As in rte_flow.h: arrays end with an END element, errors are negative errno values and described in `error`.
class FlowApi {
 public:
  FlowApi() = default;
  FlowApi(const FlowApi&) = delete;
  FlowApi& operator=(const FlowApi&) = delete;
  virtual ~FlowApi() = default;

  virtual int Validate(const rte_flow_attr& attr, const rte_flow_item* pattern, const rte_flow_action* actions,
                       rte_flow_error& error) = 0;
  // nullptr: refused, rte_errno says more.
  virtual rte_flow* Create(const rte_flow_attr& attr, const rte_flow_item* pattern, const rte_flow_action* actions,
                           rte_flow_error& error) = 0;
  virtual int Destroy(rte_flow* rule, rte_flow_error& error) = 0;
  virtual int QueryCount(rte_flow* rule, rte_flow_query_count& count, rte_flow_error& error) = 0;
  virtual int Flush(rte_flow_error& error) = 0;
};

class EthdevFlowApi : public FlowApi {
 public:
  explicit EthdevFlowApi(uint16_t ethdev) : ethdev_(ethdev) {}

  int Validate(const rte_flow_attr& attr, const rte_flow_item* pattern, const rte_flow_action* actions,
               rte_flow_error& error) override {
    return rte_flow_validate(ethdev_, &attr, pattern, actions, &error);
  }
  rte_flow* Create(const rte_flow_attr& attr, const rte_flow_item* pattern, const rte_flow_action* actions,
                   rte_flow_error& error) override {
    return rte_flow_create(ethdev_, &attr, pattern, actions, &error);
  }
  int Destroy(rte_flow* rule, rte_flow_error& error) override { return rte_flow_destroy(ethdev_, rule, &error); }
  int QueryCount(rte_flow* rule, rte_flow_query_count& count, rte_flow_error& error) override {
    const rte_flow_action actions[] = {{RTE_FLOW_ACTION_TYPE_COUNT, nullptr}, {RTE_FLOW_ACTION_TYPE_END, nullptr}};
    return rte_flow_query(ethdev_, rule, actions, &count, &error);
  }
  int Flush(rte_flow_error& error) override { return rte_flow_flush(ethdev_, &error); }

 private:
  uint16_t ethdev_;
};

}  // namespace sluice::rteflow
