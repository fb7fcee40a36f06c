// SPDX-License-Identifier: Apache-2.0
#include "event_stream.h"

#include <utility>

#include "clock.h"
#include "sluice/wire.h"

namespace sluice::core {
namespace {

constexpr int kBatch = 64;

constexpr std::array<std::string_view, kTopics> kNames = {
    topic::kFlowAdded,      topic::kFlowModified, topic::kFlowDeleted, topic::kFlowStats, topic::kFlowOffload,
    topic::kPortAdded,      topic::kPortModified, topic::kPortDeleted, topic::kPortStats, topic::kPluginLoaded,
    topic::kPluginUnloaded, topic::kPluginFailed, topic::kUpcall,      topic::kRefused,   topic::kHeartbeat,
};

}  // namespace

std::string_view TopicName(Topic topic) { return kNames[static_cast<size_t>(topic)]; }

EventStream::EventStream(Sequence& sequence, Counters& counters, std::string node, std::string epoch, Send send)
    : sequence_(sequence), counters_(counters), send_(std::move(send)) {
  batch_.set_node(std::move(node));
  batch_.set_epoch(std::move(epoch));
}

void EventStream::Subscribed(std::string_view prefix, bool on) {
  // What is under way belongs to those who listened when it happened.
  Flush();
  if (on) {
    ++prefixes_[std::string(prefix)];
  } else if (auto it = prefixes_.find(prefix); it != prefixes_.end() && --it->second == 0) {
    prefixes_.erase(it);
  }
  binary_.fill(false);
  json_.fill(false);
  for (const auto& [wanted, count] : prefixes_) {
    const bool json = wanted.starts_with(topic::kJsonPrefix);
    const std::string_view rest = std::string_view(wanted).substr(json ? topic::kJsonPrefix.size() : 0);
    for (size_t i = 0; i < kTopics; ++i) {
      if (kNames[i].starts_with(rest)) (json ? json_ : binary_)[i] = true;
    }
  }
}

v1::Event* EventStream::Add(Topic topic, uint64_t seq) {
  const auto index = static_cast<size_t>(topic);
  const uint64_t topic_seq = ++topic_seq_[index];
  if (seq == 0) seq = sequence_.Next();
  if (!Wanted(topic)) return nullptr;
  if (topic != topic_ || batch_.events_size() >= kBatch) Flush();
  topic_ = topic;
  v1::Event* event = batch_.add_events();
  event->set_seq(seq);
  event->set_topic_seq(topic_seq);
  event->set_time_ns(RealtimeNs());
  event->set_topic(std::string(TopicName(topic)));
  return event;
}

void EventStream::Flush() {
  if (batch_.events_size() == 0) return;
  const auto index = static_cast<size_t>(topic_);
  const auto say = [&](std::string_view topic, Encoding encoding) {
    const bool sent = send_(topic, Encode(batch_, encoding));
    counters_.Add(sent ? "events_sent" : "events_dropped", batch_.events_size());
  };
  if (binary_[index]) say(TopicName(topic_), Encoding::protobuf);
  if (json_[index]) say(std::string(topic::kJsonPrefix).append(TopicName(topic_)), Encoding::json);
  batch_.clear_events();
}

void EventStream::Heartbeat(uint64_t interval_ms) {
  v1::Event* event = Add(Topic::heartbeat);
  if (event == nullptr) return;
  v1::Heartbeat& beat = *event->mutable_heartbeat();
  beat.set_seq(event->seq());
  beat.set_interval_ms(interval_ms);
  for (size_t i = 0; i < kTopics; ++i) (*beat.mutable_topic_seq())[std::string(kNames[i])] = topic_seq_[i];
}

}  // namespace sluice::core
