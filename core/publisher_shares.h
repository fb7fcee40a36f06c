// SPDX-License-Identifier: Apache-2.0
// How many flows of the table each publisher has, where that is limited. A flow counts for the publisher that added it,
// whoever changes it, until it is deleted.
//
// Publishers are told apart by the names that they give, so this keeps one that floods from taking the others' room;
// it is no protection from one that lies. Names beyond `most_names` at a time are counted together, as one.
#pragma once

#include <algorithm>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace sluice::core {

class PublisherShares {
 public:
  // What a flow remembers.
  using Share = uint16_t;

  // `most_flows` 0: no limit, and nothing is counted.
  PublisherShares(uint64_t most_flows, size_t most_names)
      : most_flows_(most_flows), most_names_(std::min<size_t>(most_names, UINT16_MAX)), shares_(1) {}

  // For one flow more; nullopt: the publisher has as many as it may.
  std::optional<Share> Take(std::string_view publisher) {
    if (most_flows_ == 0) return kTogether;
    const std::string name(publisher.substr(0, kMaxName));
    const auto known = by_name_.find(name);
    Share share = known != by_name_.end() ? known->second : kTogether;
    if (known == by_name_.end() && by_name_.size() < most_names_) share = Enter(name);
    if (shares_[share].flows >= most_flows_) return std::nullopt;
    ++shares_[share].flows;
    return share;
  }
  void GiveBack(Share share) {
    if (most_flows_ == 0 || --shares_[share].flows != 0 || share == kTogether) return;
    by_name_.erase(shares_[share].name);
    free_.push_back(share);
  }
  [[nodiscard]] uint64_t most_flows() const { return most_flows_; }

 private:
  static constexpr Share kTogether = 0;
  static constexpr size_t kMaxName = 64;
  struct One {
    std::string name;
    uint64_t flows = 0;
  };

  Share Enter(const std::string& name) {
    if (free_.empty()) {
      free_.push_back(static_cast<Share>(shares_.size()));
      shares_.emplace_back();
    }
    const Share share = free_.back();
    free_.pop_back();
    shares_[share] = {name, 0};
    by_name_.emplace(name, share);
    return share;
  }

  const uint64_t most_flows_;
  const size_t most_names_;
  std::vector<One> shares_;  // the first of those that are counted together
  std::vector<Share> free_;
  std::unordered_map<std::string, Share> by_name_;  // those that have flows
};

}  // namespace sluice::core
