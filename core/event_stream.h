// SPDX-License-Identifier: Apache-2.0
// The ordered stream of events: numbers them, batches them, and encodes what somebody listens to.
//
// Events of one topic that follow one another share a message; another topic begins the next one, so that the order of
// messages is the order of events. The loop's thread only.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <set>
#include <string>
#include <string_view>

#include "counters.h"
#include "journal.h"
#include "sluice/sluice.pb.h"

namespace sluice::core {

enum class Topic : uint8_t {
  flow_add,
  flow_mod,
  flow_del,
  flow_stats,
  flow_offload,
  port_add,
  port_mod,
  port_del,
  port_stats,
  plugin_load,
  plugin_unload,
  plugin_fail,
  upcall,
  refused,
  publisher_gap,
  heartbeat,
};
inline constexpr size_t kTopics = static_cast<size_t>(Topic::heartbeat) + 1;
std::string_view TopicName(Topic topic);

class EventStream {
 public:
  // One message of two frames; false where it could not be sent.
  using Send = std::function<bool(std::string_view topic, const std::string& payload)>;

  EventStream(Sequence& sequence, Counters& counters, const std::string& node, const std::string& epoch, Send send);

  // A subscription came, or the last of this prefix went, as XPUB tells it. One that covers no topic is counted only.
  void Subscribed(std::string_view prefix, bool on);
  // Those that some topic begins with.
  [[nodiscard]] const std::set<std::string, std::less<>>& prefixes() const { return prefixes_; }
  [[nodiscard]] bool Wanted(Topic topic) const {
    return binary_[static_cast<size_t>(topic)] || json_[static_cast<size_t>(topic)];
  }

  // Counts the event. Where somebody listens: returns it, for its body to be filled before the next call; else nullptr.
  // `seq`: of the journal entry that it tells of; 0: takes a number of its own.
  v1::Event* Add(Topic topic, uint64_t seq = 0);
  // An `upcall` event of each, encoded and sent in here: they are lent, so that a packet is not copied on its way from
  // a plugin's message into the events' (it stays in `upcalls`).
  void AddUpcalls(google::protobuf::RepeatedPtrField<v1::Upcall>& upcalls);
  void Flush();
  void Heartbeat(uint64_t interval_ms);
  // Of all topics, heard or not.
  [[nodiscard]] uint64_t happened() const;

 private:
  static void Fill(v1::Event& event, Topic topic, uint64_t topic_seq, uint64_t seq, uint64_t time_ns);
  void Say(const v1::Events& events, Topic topic);

  Sequence& sequence_;
  Counters& counters_;
  Send send_;
  v1::Events batch_;
  v1::Events upcalls_;  // empty but in AddUpcalls
  Topic topic_ = Topic::heartbeat;
  std::set<std::string, std::less<>> prefixes_;
  std::array<uint64_t, kTopics> topic_seq_{};
  std::array<bool, kTopics> binary_{};
  std::array<bool, kTopics> json_{};
};

}  // namespace sluice::core
