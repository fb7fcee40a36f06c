// SPDX-License-Identifier: Apache-2.0
#include "core.h"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <utility>

#include "message_items.h"
#include "sluice/utf8.h"
#include "sluice/wire.h"

namespace sluice::core {
namespace {

// Whoever sends rubbish does not fill the log with it; it is all counted.
constexpr uint64_t kBadPluginQuietNs = 60'000'000'000;
constexpr size_t kExpirePerTurn = 4'096;
constexpr uint64_t kPublisherCheckMs = 50;
constexpr uint64_t kRateMs = 1'000;
constexpr uint64_t kMs = 1'000'000;

}  // namespace

Core::Core(CoreSettings settings, Outlet outlet, Launcher& launcher, PluginPaths paths, Clock clock)
    : settings_(std::move(settings)),
      connections_(std::move(outlet.connections)),
      started_ns_(clock()),
      clock_(std::move(clock)),
      timers_(clock_),
      paths_(std::move(paths)),
      events_(sequence_, counters_, settings_.node, settings_.epoch, std::move(outlet.publish)),
      flow_events_(sequence_, events_, ports_, clock_),
      table_(journal_, flow_events_, settings_.flows),
      ageing_(table_, settings_.idle_grace_ms * kMs),
      port_service_(ports_, table_, events_, timers_, settings_.port_ms),
      plugins_({journal_, table_, ports_, port_service_, events_, counters_, timers_, launcher,
                std::move(outlet.to_plugin), settings_.epoch},
               settings_.plugins, settings_.feed),
      publishers_(counters_, settings_.publishers),
      snapshots_(journal_, table_, ports_, settings_.snapshots),
      flow_service_(sequence_, table_, ports_, plugins_, counters_, clock_),
      rates_(started_ns_) {
  flow_events_.Connect(ageing_, plugins_.names());
  timers_.After(settings_.heartbeat_ms, [this] { Beat(); });
  timers_.After(kRateMs, [this] { SampleRates(); });
}

void Core::SampleRates() {
  rates_.Sample(RatedNow(), clock_());
  timers_.After(kRateMs, [this] { SampleRates(); });
}

void Core::Beat() {
  events_.Heartbeat(settings_.heartbeat_ms);
  snapshots_.Expire(clock_());
  timers_.After(settings_.heartbeat_ms, [this] { Beat(); });
}

// A subscriber knows by a heartbeat that its subscription is in force: it need not wait for the next regular one.
void Core::OnSubscription(std::string_view prefix, bool on) {
  events_.Subscribed(prefix, on);
  const auto covers = [&](std::string_view wanted) { return topic::kHeartbeat.starts_with(wanted); };
  const bool json = prefix.starts_with(topic::kJsonPrefix);
  beat_now_ = beat_now_ || (on && covers(json ? prefix.substr(topic::kJsonPrefix.size()) : prefix));
}

void Core::Turn() {
  timers_.Run();
  if (std::exchange(beat_now_, false)) events_.Heartbeat(settings_.heartbeat_ms);
  ageing_.Expire(clock_(), kExpirePerTurn);
  plugins_.Pump();
  events_.Flush();
}

std::optional<uint64_t> Core::NextDeadline() const {
  const auto timer = timers_.NextDeadline();
  const auto ageing = ageing_.NextDeadline();
  if (!timer || !ageing) return timer ? timer : ageing;
  return std::min(*timer, *ageing);
}

// ---- plugins

void Core::OnPlugin(const std::string& identity, std::string_view payload) {
  // The same message each time: what it has allocated for upcalls is used again.
  v1::FromPlugin& message = from_plugin_;
  message.Clear();
  if (auto decoded = Decode(payload, message); !decoded) {
    counters_.Add("plugin_messages_bad");
    const uint64_t now = clock_();
    if (bad_plugin_told_ns_ == 0 || now - bad_plugin_told_ns_ > kBadPluginQuietNs) {
      spdlog::warn("a plugin sent what cannot be read: {}", decoded.error().detail);
      bad_plugin_told_ns_ = now;
    }
    return;
  }
  plugins_.OnMessage(identity, message);
}

Result<PluginSpec> Core::SpecOf(const std::string& name, const std::string& isolation, const std::string& orphan,
                                const std::map<std::string, std::string>& options) const {
  if (!isolation.empty() && isolation != "thread" && isolation != "process") {
    return Error{"bad_request", "isolation is '" + isolation.substr(0, 40) + "'; it can be thread or process", 0, 0};
  }
  if (!orphan.empty() && orphan != "withdraw" && orphan != "keep") {
    return Error{"bad_request", "orphan is '" + orphan.substr(0, 40) + "'; it can be withdraw or keep", 0, 0};
  }
  if (orphan == "keep" && isolation != "process") {
    return Error{"bad_request", "orphan is keep, which only a plugin with isolation process can", 0, 0};
  }
  auto place = paths_.Find(name);
  if (!place) return place.error();
  const bool needs_process = NeedsProcess(place->path);
  if (needs_process && isolation == "thread") {
    return Error{"needs_process",
                 "plugin " + place->name + " runs in a process of its own only: leave the isolation to it", 0, 0};
  }
  return PluginSpec{place->name, place->path, needs_process || isolation == "process", options, orphan == "keep"};
}

void Core::LoadConfigured(const std::string& name, Result<PluginSpec> spec) {
  if (!spec) {
    spdlog::error("plugin {} is not loaded: {}", name, spec.error().detail);
    return;
  }
  if (plugins_.Has(spec->name)) return;
  plugins_.Load(std::move(*spec), true, [](const Result<void>&) {});
}

void Core::AddConfigured(const std::string& name, const std::string& plugin,
                         const std::map<std::string, std::string>& options) {
  if (auto added = port_service_.Configure(name, plugin, options); !added) {
    spdlog::error("port {} is not added: {}", name, added.error().detail);
  }
}

// ---- ingress

void Core::OnIngress(std::string_view topic, std::string_view payload) {
  counters_.Add("ingress_messages");
  if (payload.size() > settings_.max_message) {
    const std::string detail = "a message of " + std::to_string(payload.size()) + " bytes; the limit is " +
                               std::to_string(settings_.max_message);
    return RefuseMessage(topic, Error{"too_large", detail, 0, 0});
  }
  if (auto few = CheckItems(payload, 1); !few) return RefuseMessage(topic, few.error());
  v1::Reply reply;
  // Decodes, does, accounts: the same for every kind of message.
  const auto take = [&](auto message, const auto& act) {
    if (auto decoded = Decode(payload, message); !decoded) return RefuseMessage(topic, decoded.error());
    act(message);
    const auto [accepted, refused] = Fared(message, reply);
    publishers_.Take(OriginOf(message), topic, accepted, refused, reply.refused(), clock_());
  };
  if (topic == topic::kFlowPut || topic == topic::kFlowModify) {
    take(v1::FlowPut(), [&](const auto& put) { flow_service_.Put(put, topic == topic::kFlowModify, false, reply); });
  } else if (topic == topic::kFlowDelete) {
    take(v1::FlowDel(), [&](const auto& del) { flow_service_.Delete(del, false, reply); });
  } else if (topic == topic::kFlowFlush) {
    take(v1::FlowFlush(), [&](const auto& flush) { flow_service_.Flush(flush, reply); });
  } else if (topic == topic::kPacketOut) {
    take(v1::PacketOut(), [&](const auto& packet) { flow_service_.PacketOut(packet, reply); });
  } else if (topic == topic::kPacketOuts) {
    take(v1::PacketOuts(), [&](auto& packets) { flow_service_.PacketOuts(*packets.mutable_packets(), reply); });
  } else {
    const std::string detail = "there is no ingress topic '" + std::string(topic.substr(0, 64)) + "'";
    RefuseMessage(topic, Error{"unknown_topic", detail, 0, 0});
  }
  TellOfPublishersSoon();
}

// What cannot be read has no publisher either. Where it had one, that one's count tells that it is missing.
void Core::RefuseMessage(std::string_view topic, const Error& error) {
  v1::Reply reply;
  v1::Refusal& refusal = *reply.add_refused();
  refusal.set_reason(error.reason);
  refusal.set_detail(Utf8(error.detail));
  counters_.AddReason("refused", error.reason);
  static const std::string kNobody;
  publishers_.Take(Origin{kNobody, 0, 0, {}}, topic, 0, 1, reply.refused(), clock_());
  TellOfPublishersSoon();
}

void Core::TellOfPublishersSoon() {
  if (publishers_.HasNews() && !std::exchange(publishers_timer_, true))
    timers_.After(0, [this] { TellOfPublishers(); });
}

void Core::TellOfPublishers() {
  Publishers::News news = publishers_.Due(clock_());
  for (v1::PublisherGap& gap : news.gaps) {
    if (v1::Event* event = events_.Add(Topic::publisher_gap)) *event->mutable_gap() = std::move(gap);
  }
  for (v1::Refused& refused : news.refused) {
    if (v1::Event* event = events_.Add(Topic::refused)) *event->mutable_refused() = std::move(refused);
  }
  publishers_timer_ = publishers_.HasNews();
  if (publishers_timer_) timers_.After(kPublisherCheckMs, [this] { TellOfPublishers(); });
}

}  // namespace sluice::core
