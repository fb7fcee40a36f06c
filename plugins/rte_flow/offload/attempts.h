// SPDX-License-Identifier: Apache-2.0
// The ways in which a flow can be put to a device, in the order in which they are tried, and what a device's answer to
// one of them means.
#pragma once

#include <rte_flow.h>

#include <cstdint>
#include <string>
#include <vector>

#include "full_plan.h"
#include "offloader.h"

namespace sluice::rteflow {

enum class OutputBy : uint8_t { kRepresentedPort, kPortId };
enum class SetBy : uint8_t { kModifyField, kOldActions };
enum class EncapBy : uint8_t { kRaw, kVxlan };
// Of several outputs: all but the last by SAMPLE with ratio 1, or simply one after another, which by DPDK's guide sends
// a copy each.
enum class CopyBy : uint8_t { kSample, kRepeat };
// Where packets with a mark go. Some drivers want the queue to come before the mark.
enum class Fate : uint8_t { kUnsaid, kRss, kQueue, kQueueFirst };

struct Way {
  Extent extent = Extent::kFull;
  bool transfer = false;  // else ingress
  OutputBy output = OutputBy::kRepresentedPort;
  SetBy set = SetBy::kModifyField;
  EncapBy encap = EncapBy::kRaw;
  CopyBy copy = CopyBy::kSample;
  Fate fate = Fate::kUnsaid;
  bool count = true;
};

// Of a plan of one shape always the same ones.
std::vector<Way> FullWays(const FullPlan& plan);

// `rss`: RSS may be said.
std::vector<Way> MarkWays(uint16_t queues, bool rss);

// "full by transfer, represented_port, modify_field, count"; of the plan's shape only what matters to it.
std::string Describe(const Way& way, const FullPlan* plan);

// What a refusal is about, and so what it teaches.
enum class About : uint8_t {
  kWay,       // the attributes or the actions: the device has not got them
  kPattern,   // the items
  kValues,    // what is in the actions, not that they are there
  kPriority,  // the number
  kOverlap,   // there is a rule already that it does not take another one beside
  kSpace,     // the table is full
  kFailure,   // the device did not come to answer
};

struct Refusal {
  int error = 0;  // errno
  rte_flow_error_type type = RTE_FLOW_ERROR_TYPE_NONE;
  std::string message;

  [[nodiscard]] About about() const;
  // "ACTION: no such action (Operation not supported)"
  [[nodiscard]] std::string Text() const;
};

// "ACTION_CONF", without what all of them begin with.
const char* NameOf(rte_flow_error_type type);

}  // namespace sluice::rteflow
