// SPDX-License-Identifier: Apache-2.0
#include "sluice/monitor.h"

#include <algorithm>
#include <array>
#include <deque>
#include <map>
#include <unordered_map>
#include <zmq_addon.hpp>

#include "request_channel.h"
#include "sluice/wire.h"
#include "topic_numbers.h"
#include "zmq_socket.h"

namespace sluice {
namespace {

using Clock = std::chrono::steady_clock;

// All topics but those of the JSON stream, which an empty prefix would bring twice over.
constexpr std::array<std::string_view, 6> kFamilies = {"flow.",        "port.",         "plugin.",
                                                       topic::kUpcall, topic::kRefused, "publisher."};
constexpr std::string_view kFlowFamily = "flow.";
// Flow events held back during a walk; more are a gap.
constexpr size_t kMaxPending = 1 << 18;
constexpr int kLateMessages = 1000;

}  // namespace

class Monitor::Impl {
 public:
  explicit Impl(Settings settings)
      : settings_(std::move(settings)),
        context_(settings_.zmq_context),
        events_(context_, zmq::socket_type::sub),
        state_(settings_.snapshot ? State::joining : State::live) {
    if (settings_.topics.empty()) settings_.topics.assign(kFamilies.begin(), kFamilies.end());
    events_->set(zmq::sockopt::rcvhwm, settings_.high_water_mark);
    for (const auto& prefix : settings_.topics) events_->set(zmq::sockopt::subscribe, prefix);
    events_->set(zmq::sockopt::subscribe, topic::kHeartbeat);
    events_->connect(settings_.endpoints.events);
    if (settings_.snapshot) channel_.emplace(context_, settings_.endpoints.control);
  }

  std::optional<MonitorItem> Next(std::chrono::milliseconds timeout) {
    const auto deadline = Clock::now() + timeout;
    int late = 0;
    for (;;) {
      if (!out_.empty()) {
        MonitorItem item = std::move(out_.front());
        out_.pop_front();
        return item;
      }
      const bool received = Receive();
      if (state_ == State::walking) Walk();
      Timers(received);
      if (!out_.empty()) continue;
      // What has come already is looked through even when time is up, within reason.
      if (Clock::now() >= deadline && (!received || ++late > kLateMessages)) return std::nullopt;
      if (!received) Wait(deadline);
    }
  }

  Counters counters_;

 private:
  enum class State {
    joining,  // waiting for a heartbeat to start the walk
    walking,  // flow events are held back
    live,
  };
  struct Gap {
    uint64_t missed = 0;  // not yet told
    Clock::time_point next_report;
  };

  // ---- the stream

  bool Receive() {
    std::vector<zmq::message_t> frames;
    if (!zmq::recv_multipart(*events_, std::back_inserter(frames), zmq::recv_flags::dontwait)) return false;
    last_heard_ = Clock::now();
    silent_ = false;
    if (View(frames.front()).starts_with(topic::kJsonPrefix)) return true;
    if (settings_.whole_upcalls && View(frames.front()) == topic::kUpcall) {
      TakeUpcalls(View(frames.back()));
      return true;
    }
    v1::Events message;
    if (auto decoded = Decode(View(frames.back()), message); !decoded) {
      out_.emplace_back(Problem{decoded.error()});
      return true;
    }
    if (message.epoch() != epoch_) NewEpoch(message.epoch());
    for (auto& event : *message.mutable_events()) Take(message, event);
    return true;
  }

  // On an arena, which goes with the message: event by event they would cost more than all else that is done to them.
  void TakeUpcalls(std::string_view payload) {
    struct Held {
      google::protobuf::Arena arena;
      v1::Events* message = google::protobuf::Arena::CreateMessage<v1::Events>(&arena);
    };
    auto held = std::make_shared<Held>();
    v1::Events& message = *held->message;
    if (auto decoded = Decode(payload, message); !decoded) {
      out_.emplace_back(Problem{decoded.error()});
      return;
    }
    if (message.epoch() != epoch_) NewEpoch(message.epoch());
    counters_.events += static_cast<uint64_t>(message.events_size());
    uint64_t missed = 0;
    for (const auto& event : message.events()) missed += numbers_.OnEvent(event);
    if (missed != 0) AddGap(std::string(topic::kUpcall), missed);
    out_.emplace_back(UpcallsReceived{std::shared_ptr<v1::Events>(held, held->message)});
  }

  void NewEpoch(const std::string& epoch) {
    const std::string from = std::exchange(epoch_, epoch);
    if (from.empty()) return;
    numbers_.Reset();
    gaps_.clear();
    pending_.clear();
    as_of_.clear();
    synced_seq_ = 0;
    resync_wanted_ = false;
    if (settings_.snapshot) state_ = State::joining;
    last_walk_ = {};
    out_.emplace_back(EpochChanged{from, epoch});
  }

  void Take(const v1::Events& message, v1::Event& event) {
    if (event.has_heartbeat()) {
      OnHeartbeat(event.heartbeat());
      if (Wanted(event.topic())) Deliver(message, event);
      return;
    }
    ++counters_.events;
    if (const uint64_t missed = numbers_.OnEvent(event); missed != 0) AddGap(event.topic(), missed);
    if (!settings_.snapshot || !event.topic().starts_with(kFlowFamily)) {
      Deliver(message, event);
    } else if (state_ == State::live) {
      if (!IsOld(event)) Deliver(message, event);
    } else if (pending_.size() < kMaxPending) {
      pending_.push_back(EventReceived{message.node(), message.epoch(), std::move(event)});
    } else {
      AddGap(event.topic(), 1);
    }
  }

  void OnHeartbeat(const v1::Heartbeat& heartbeat) {
    if (heartbeat.interval_ms() != 0) beat_ = std::chrono::milliseconds(heartbeat.interval_ms());
    numbers_.OnHeartbeat(
        heartbeat, [this](const std::string& name) { return name != topic::kHeartbeat && Wanted(name); },
        [this](const std::string& name, uint64_t missed) { AddGap(name, missed); });
    // All that is older than the walk has come by now.
    if (state_ == State::live && heartbeat.seq() > synced_seq_) as_of_.clear();
    if (state_ == State::joining && WalkAllowed()) StartWalk();
  }

  void Deliver(const v1::Events& message, v1::Event& event) {
    out_.emplace_back(EventReceived{message.node(), message.epoch(), std::move(event)});
  }

  [[nodiscard]] bool Wanted(const std::string& name) const {
    return std::any_of(settings_.topics.begin(), settings_.topics.end(),
                       [&name](const std::string& prefix) { return name.starts_with(prefix); });
  }

  // The walk has told this or something newer. A flow that it did not show was gone by then.
  [[nodiscard]] bool IsOld(const v1::Event& event) const {
    if (event.seq() > synced_seq_) return false;
    const auto it = as_of_.find(event.flow().ufid());
    return it == as_of_.end() || event.seq() <= it->second;
  }

  void AddGap(const std::string& name, uint64_t missed) {
    counters_.missed += missed;
    gaps_[name].missed += missed;
    if (settings_.snapshot && name.starts_with(kFlowFamily)) resync_wanted_ = true;
  }

  // ---- the walk

  [[nodiscard]] bool WalkAllowed() const {
    return last_walk_ == Clock::time_point() || Clock::now() >= last_walk_ + settings_.resync_interval;
  }

  void StartWalk() {
    state_ = State::walking;
    last_walk_ = Clock::now();
    resync_wanted_ = false;
    as_of_.clear();
    pending_.clear();  // what came before the request is in the answer
    ++counters_.walks;
    out_.emplace_back(SnapshotStarted{epoch_});
    v1::Snapshot first;
    first.set_limit(settings_.chunk);
    Ask(first);
  }

  void Ask(const v1::Snapshot& snapshot) {
    request_.Clear();
    *request_.mutable_snapshot() = snapshot;
    asked_ = false;
    chunk_deadline_ = Clock::now() + settings_.walk_timeout;
  }

  void Walk() {
    if (!asked_) {
      auto sent = channel_->TrySend(request_);
      if (!sent) return FailWalk(sent.error());
      asked_ = *sent;
    }
    if (asked_) {
      auto reply = channel_->TryReceive();
      if (!reply) return FailWalk(reply.error());
      if (reply->has_value()) return OnChunk(**reply);
    }
    if (Clock::now() >= chunk_deadline_) {
      FailWalk({.reason = "no_daemon", .detail = "no answer from " + settings_.endpoints.control + " to a snapshot"});
    }
  }

  void OnChunk(v1::Reply& reply) {
    if (!reply.ok()) return FailWalk({.reason = reply.reason(), .detail = reply.detail()});
    if (reply.epoch() != epoch_) {
      return FailWalk({.reason = "epoch_changed", .detail = "another core answered than the one that publishes"});
    }
    for (const auto& ufid : reply.deleted()) {
      if (as_of_.erase(ufid) != 0) out_.emplace_back(SnapshotDeleted{ufid, reply.seq()});
    }
    for (auto& flow : *reply.mutable_flows()) {
      as_of_[flow.ufid()] = reply.seq();
      out_.emplace_back(SnapshotFlow{std::move(flow), reply.seq()});
    }
    if (reply.done()) return FinishWalk(reply.seq());
    v1::Snapshot next = request_.snapshot();
    next.set_after(reply.cursor());
    next.set_epoch(reply.epoch());
    Ask(next);
  }

  void FinishWalk(uint64_t seq) {
    synced_seq_ = seq;
    state_ = State::live;
    out_.emplace_back(Synced{epoch_, seq});
    for (auto& held : pending_) {
      if (!IsOld(held.event)) out_.emplace_back(std::move(held));
    }
    pending_.clear();
  }

  // Tried again at a heartbeat, which is the sign that there is a core to ask.
  void FailWalk(const Error& error) {
    state_ = State::joining;
    out_.emplace_back(Problem{error});
  }

  // ---- time

  void Timers(bool received) {
    const auto now = Clock::now();
    for (auto& [name, gap] : gaps_) {
      if (gap.missed == 0 || now < gap.next_report) continue;
      out_.emplace_back(GapDetected{name, std::exchange(gap.missed, 0)});
      gap.next_report = now + settings_.resync_interval;
    }
    if (state_ == State::live && resync_wanted_ && WalkAllowed()) StartWalk();
    if (!received && !silent_ && now >= last_heard_ + 3 * beat_) {
      silent_ = true;
      out_.emplace_back(Silent{std::chrono::duration_cast<std::chrono::milliseconds>(now - last_heard_)});
    }
  }

  void Wait(Clock::time_point deadline) {
    std::array<zmq::pollitem_t, 2> items = {events_.PollItem(ZMQ_POLLIN), zmq::pollitem_t{}};
    size_t count = 1;
    if (!silent_) deadline = std::min(deadline, last_heard_ + 3 * beat_);
    if (state_ == State::walking) {
      items[count++] = channel_->socket().PollItem(asked_ ? ZMQ_POLLIN : ZMQ_POLLOUT);
      deadline = std::min(deadline, chunk_deadline_);
    } else if (state_ == State::live && resync_wanted_) {
      deadline = std::min(deadline, last_walk_ + settings_.resync_interval);
    }
    for (const auto& [name, gap] : gaps_) {
      if (gap.missed != 0) deadline = std::min(deadline, gap.next_report);
    }
    zmq::poll(items.data(), count, Until(deadline));
  }

  Settings settings_;
  ZmqContext context_;
  ZmqSocket events_;
  std::optional<RequestChannel> channel_;  // with a snapshot

  State state_;
  std::string epoch_;
  TopicNumbers numbers_;
  std::map<std::string, Gap> gaps_;
  std::deque<MonitorItem> out_;  // bounded by what one message or chunk holds, and kMaxPending

  bool resync_wanted_ = false;
  Clock::time_point last_walk_;
  v1::Request request_;
  bool asked_ = false;
  Clock::time_point chunk_deadline_;
  std::deque<EventReceived> pending_;
  uint64_t synced_seq_ = 0;
  // Of each flow that the walk showed: when. Kept until no older event can come.
  std::unordered_map<std::string, uint64_t> as_of_;

  std::chrono::milliseconds beat_ = std::chrono::seconds(1);
  Clock::time_point last_heard_ = Clock::now();
  bool silent_ = false;
};

Monitor::Monitor(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Monitor::Monitor(Monitor&&) noexcept = default;
Monitor& Monitor::operator=(Monitor&&) noexcept = default;
Monitor::~Monitor() = default;

Result<Monitor> Monitor::Open(Settings settings) {
  const std::string endpoint = settings.endpoints.events;
  try {
    return Monitor(std::make_unique<Impl>(std::move(settings)));
  } catch (const zmq::error_t& error) {
    return BadEndpoint(endpoint, error);
  }
}

std::optional<MonitorItem> Monitor::Next(std::chrono::milliseconds timeout) {
  try {
    return impl_->Next(timeout);
  } catch (const zmq::error_t& error) {
    // EINTR: a signal for the caller to look at.
    if (error.num() == EINTR) return std::nullopt;
    return Problem{{.reason = "no_daemon", .detail = std::string("the connection failed: ") + error.what()}};
  }
}

const Monitor::Counters& Monitor::counters() const { return impl_->counters_; }

}  // namespace sluice
