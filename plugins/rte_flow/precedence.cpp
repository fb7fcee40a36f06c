// SPDX-License-Identifier: Apache-2.0
#include "precedence.h"

namespace sluice::rteflow {

bool Overlap(const Match& one, const Match& other) {
  for (size_t i = 0; i < kFlowKeySize; ++i) {
    const auto both = static_cast<uint8_t>(one.MaskBytes()[i] & other.MaskBytes()[i]);
    if (((one.KeyBytes()[i] ^ other.KeyBytes()[i]) & both) != 0) return false;
  }
  return true;
}

void Precedence::Remove(Flows& flows, const DatapathFlow& flow) {
  const auto level = flows.find(flow.priority);
  if (level == flows.end()) return;
  level->second.erase(&flow);
  if (level->second.empty()) flows.erase(level);
}

const DatapathFlow* Precedence::Above(const Flows& flows, const DatapathFlow& flow) {
  size_t looked_at = 0;
  for (auto level = flows.upper_bound(flow.priority); level != flows.end(); ++level) {
    for (const DatapathFlow* each : level->second) {
      if (++looked_at > kLookedAt || Overlap(each->match, flow.match)) return each;
    }
  }
  return nullptr;
}

void Precedence::Below(const Flows& flows, const Flows& rules, const DatapathFlow& flow,
                       std::vector<const DatapathFlow*>& below) {
  size_t above = 0;
  for (auto level = flows.lower_bound(flow.priority); level != flows.end(); ++level) above += level->second.size();
  for (auto level = rules.begin(); level != rules.end() && level->first < flow.priority; ++level) {
    for (const DatapathFlow* each : level->second) {
      if (above > kLookedAt || Overlap(each->match, flow.match)) below.push_back(each);
    }
  }
}

std::vector<const DatapathFlow*> Precedence::Below(const DatapathFlow& flow) const {
  std::vector<const DatapathFlow*> below;
  Below(uncovered_, transfer_, flow, below);
  Below(uncovered_, ingress_, flow, below);
  return below;
}

std::vector<const DatapathFlow*> Precedence::BelowIngress(const DatapathFlow& flow) const {
  std::vector<const DatapathFlow*> below;
  Below(ingress_, transfer_, flow, below);
  return below;
}

}  // namespace sluice::rteflow
