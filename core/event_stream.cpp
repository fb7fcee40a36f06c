// SPDX-License-Identifier: Apache-2.0
#include "event_stream.h"

#include <numeric>
#include <utility>

#include "clock.h"
#include "sluice/wire.h"

namespace sluice::core {
namespace {

constexpr int kBatch = 64;
// Of upcalls, which are many where they are, and large: whichever is reached first.
// Small enough that a slow subscriber's queue, which is bounded in messages, stays within some hundred MB.
constexpr int kUpcallBatch = 128;
constexpr size_t kUpcallBytes = size_t{32} << 10;

// Takes the lent upcalls out of the message before anything else can free them.
class Loan {
 public:
  explicit Loan(v1::Events& events) : events_(events) {}
  ~Loan() { GiveBack(); }
  Loan(const Loan&) = delete;
  Loan& operator=(const Loan&) = delete;

  void Lend(v1::Event& event, v1::Upcall& upcall) {
    event.unsafe_arena_set_allocated_upcall(&upcall);
    bytes_ += upcall.data().size();
  }
  void GiveBack() {
    for (v1::Event& event : *events_.mutable_events()) (void)event.unsafe_arena_release_upcall();
    events_.clear_events();
    bytes_ = 0;
  }
  [[nodiscard]] bool Full() const { return events_.events_size() >= kUpcallBatch || bytes_ >= kUpcallBytes; }

 private:
  v1::Events& events_;
  size_t bytes_ = 0;
};

constexpr std::array<std::string_view, kTopics> kNames = {
    topic::kFlowAdded,   topic::kFlowModified, topic::kFlowDeleted,    topic::kFlowStats,
    topic::kFlowOffload, topic::kPortAdded,    topic::kPortModified,   topic::kPortDeleted,
    topic::kPortStats,   topic::kPluginLoaded, topic::kPluginUnloaded, topic::kPluginFailed,
    topic::kUpcall,      topic::kRefused,      topic::kPublisherGap,   topic::kHeartbeat,
};

}  // namespace

std::string_view TopicName(Topic topic) { return kNames[static_cast<size_t>(topic)]; }

EventStream::EventStream(Sequence& sequence, Counters& counters, const std::string& node, const std::string& epoch,
                         Send send)
    : sequence_(sequence), counters_(counters), send_(std::move(send)) {
  for (v1::Events* message : {&batch_, &upcalls_}) {
    message->set_node(node);
    message->set_epoch(epoch);
  }
}

void EventStream::Subscribed(std::string_view prefix, bool on) {
  const auto begins = [](std::string_view wanted, const auto& visit) {
    const bool json = wanted.starts_with(topic::kJsonPrefix);
    const std::string_view rest = wanted.substr(json ? topic::kJsonPrefix.size() : 0);
    bool any = false;
    for (size_t i = 0; i < kTopics; ++i) {
      if (!kNames[i].starts_with(rest)) continue;
      visit(json, i);
      any = true;
    }
    return any;
  };
  if (!begins(prefix, [](bool, size_t) {})) {
    // Not remembered: there is no end of those.
    if (on) counters_.Add("subscriptions_unknown");
    return;
  }
  // What is under way belongs to those who listened when it happened.
  Flush();
  if (on) {
    prefixes_.emplace(prefix);
  } else if (auto it = prefixes_.find(prefix); it != prefixes_.end()) {
    prefixes_.erase(it);
  }
  binary_.fill(false);
  json_.fill(false);
  for (const std::string& wanted : prefixes_) {
    begins(wanted, [this](bool json, size_t topic) { (json ? json_ : binary_)[topic] = true; });
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
  Fill(*event, topic, topic_seq, seq, RealtimeNs());
  return event;
}

void EventStream::Fill(v1::Event& event, Topic topic, uint64_t topic_seq, uint64_t seq, uint64_t time_ns) {
  const std::string_view name = TopicName(topic);
  event.set_seq(seq);
  event.set_topic_seq(topic_seq);
  event.set_time_ns(time_ns);
  event.set_topic(name.data(), name.size());
}

void EventStream::AddUpcalls(google::protobuf::RepeatedPtrField<v1::Upcall>& upcalls) {
  uint64_t& topic_seq = topic_seq_[static_cast<size_t>(Topic::upcall)];
  if (!Wanted(Topic::upcall)) {
    topic_seq += static_cast<uint64_t>(upcalls.size());
    sequence_.last += static_cast<uint64_t>(upcalls.size());
    return;
  }
  Flush();
  Loan loan(upcalls_);
  const uint64_t now = RealtimeNs();
  for (v1::Upcall& upcall : upcalls) {
    v1::Event& event = *upcalls_.add_events();
    Fill(event, Topic::upcall, ++topic_seq, sequence_.Next(), now);
    loan.Lend(event, upcall);
    if (!loan.Full()) continue;
    Say(upcalls_, Topic::upcall);
    loan.GiveBack();
  }
  if (upcalls_.events_size() != 0) Say(upcalls_, Topic::upcall);
}

void EventStream::Flush() {
  if (batch_.events_size() == 0) return;
  Say(batch_, topic_);
  batch_.clear_events();
}

void EventStream::Say(const v1::Events& events, Topic topic) {
  const auto index = static_cast<size_t>(topic);
  const auto say = [&](std::string_view name, Encoding encoding) {
    const bool sent = send_(name, Encode(events, encoding));
    counters_.Add(sent ? "events_sent" : "events_dropped", static_cast<uint64_t>(events.events_size()));
  };
  if (binary_[index]) say(TopicName(topic), Encoding::protobuf);
  if (json_[index]) say(std::string(topic::kJsonPrefix).append(TopicName(topic)), Encoding::json);
}

uint64_t EventStream::happened() const { return std::accumulate(topic_seq_.begin(), topic_seq_.end(), uint64_t{0}); }

void EventStream::Heartbeat(uint64_t interval_ms) {
  v1::Event* event = Add(Topic::heartbeat);
  if (event == nullptr) return;
  v1::Heartbeat& beat = *event->mutable_heartbeat();
  beat.set_seq(event->seq());
  beat.set_interval_ms(interval_ms);
  for (size_t i = 0; i < kTopics; ++i) (*beat.mutable_topic_seq())[std::string(kNames[i])] = topic_seq_[i];
}

}  // namespace sluice::core
