// SPDX-License-Identifier: Apache-2.0
// Who publishes: what came, what was accepted and refused, and what never came, by the publishers' own count.
#pragma once

#include <cstdint>
#include <list>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "counters.h"
#include "sluice/sluice.pb.h"

namespace sluice::core {

class Publishers {
 public:
  struct One {
    v1::Publisher told;
    uint64_t last_seq = 0;
    // Refusals on ingress not told yet.
    uint64_t said_ns = 0;
    v1::Refused pending;
  };

  Publishers(Counters& counters, size_t limit) : counters_(counters), limit_(limit) {}

  // A message came. `seq`: the publisher's own count, 0 if it does not. The reference is valid until the next call.
  One& Message(const std::string& name, uint64_t seq);
  // Something on ingress was refused; told by Due().
  void Refuse(One& publisher, std::string_view topic, uint64_t count, const v1::Refusal& example);
  // Refusals to tell now: of each publisher once a second at most.
  std::vector<v1::Refused> Due(uint64_t now_ns);
  [[nodiscard]] bool HasPending() const { return pending_ != 0; }
  void Show(google::protobuf::RepeatedPtrField<v1::Publisher>& out) const;

 private:
  Counters& counters_;
  size_t limit_;
  size_t pending_ = 0;
  std::list<One> recent_;  // most recently seen first
  std::unordered_map<std::string, std::list<One>::iterator> by_name_;
};

}  // namespace sluice::core
