// SPDX-License-Identifier: Apache-2.0
// Finds holes in the numbers of topics (Event.topic_seq, Heartbeat.topic_seq).
#pragma once

#include <cstdint>
#include <string>
#include <unordered_map>

#include "sluice/sluice.pb.h"

namespace sluice {

class TopicNumbers {
 public:
  // How many events of this topic were missed before this one.
  uint64_t OnEvent(const v1::Event& event);

  // Calls missed(topic, count) for each topic that has come further than its events did. A topic that is not
  // subscribed to is of no interest: wanted(topic). The first heartbeat tells where every topic stands.
  template <typename Wanted, typename Missed>
  void OnHeartbeat(const v1::Heartbeat& heartbeat, Wanted wanted, Missed missed) {
    for (const auto& [topic, newest] : heartbeat.topic_seq()) {
      if (!wanted(topic)) continue;
      const auto [it, unknown] = last_.try_emplace(topic, known_all_ ? 0 : newest);
      if (newest <= it->second) continue;
      missed(topic, newest - it->second);
      it->second = newest;
    }
    known_all_ = true;
  }

  // Another core: all numbers start anew.
  void Reset() {
    last_.clear();
    known_all_ = false;
  }

 private:
  std::unordered_map<std::string, uint64_t> last_;
  bool known_all_ = false;  // a topic that is not in last_ has had no event yet
};

inline uint64_t TopicNumbers::OnEvent(const v1::Event& event) {
  const uint64_t number = event.topic_seq();
  if (number == 0) return 0;
  const auto [it, unknown] = last_.try_emplace(event.topic(), known_all_ ? 0 : number - 1);
  const uint64_t missed = number > it->second ? number - it->second - 1 : 0;
  it->second = std::max(it->second, number);
  return missed;
}

}  // namespace sluice
