// SPDX-License-Identifier: Apache-2.0
#include <rte_flow_driver.h>

#include "ethdev.h"

namespace sluice::netsluice {
namespace {

int Validate(rte_eth_dev* dev, const rte_flow_attr* attributes, const rte_flow_item* items,
             const rte_flow_action* actions, rte_flow_error* error) {
  const auto refusal = PrivateOf(dev).flows.Validate(*attributes, items, actions);
  return refusal ? Report(*refusal, error) : 0;
}

rte_flow* Create(rte_eth_dev* dev, const rte_flow_attr* attributes, const rte_flow_item* items,
                 const rte_flow_action* actions, rte_flow_error* error) {
  const auto made = PrivateOf(dev).flows.Create(*attributes, items, actions);
  if (const auto* rule = std::get_if<Rule*>(&made)) return reinterpret_cast<rte_flow*>(*rule);
  Report(std::get<Refusal>(made), error);
  return nullptr;
}

int Destroy(rte_eth_dev* dev, rte_flow* flow, rte_flow_error* error) {
  const auto refusal = PrivateOf(dev).flows.Destroy(reinterpret_cast<Rule*>(flow));
  return refusal ? Report(*refusal, error) : 0;
}

int Flush(rte_eth_dev* dev, rte_flow_error* error) {
  if (DeviceOf(dev).faults().destroy_fails) {
    return Report({EIO, RTE_FLOW_ERROR_TYPE_HANDLE, nullptr, "the device does not answer"}, error);
  }
  PrivateOf(dev).flows.Flush();
  return 0;
}

int Query(rte_eth_dev* dev, rte_flow* flow, const rte_flow_action* action, void* data, rte_flow_error* error) {
  const auto refusal =
      PrivateOf(dev).flows.Query(reinterpret_cast<Rule*>(flow), *action, *static_cast<rte_flow_query_count*>(data));
  return refusal ? Report(*refusal, error) : 0;
}

}  // namespace

constinit const rte_flow_ops kFlowOps = [] {
  rte_flow_ops ops{};
  ops.validate = Validate;
  ops.create = Create;
  ops.destroy = Destroy;
  ops.flush = Flush;
  ops.query = Query;
  return ops;
}();

}  // namespace sluice::netsluice
