// SPDX-License-Identifier: Apache-2.0
// Plugins that fail: how that is noticed, and how they come back.
#include <spdlog/spdlog.h>

#include <algorithm>
#include <utility>

#include "plugins.h"

namespace sluice::core {
namespace {

constexpr uint64_t kMs = 1'000'000;
constexpr uint64_t kMinuteNs = 60'000'000'000;
constexpr uint64_t kMostDelayMs = 60'000;

}  // namespace

void Plugins::Fail(Slot& slot, const std::string& why) {
  Gone(slot);
  parts_.timers.Cancel(slot.timer);
  slot.state = State::failed;
  slot.detail = why;
  if (!std::exchange(slot.silent, false)) parts_.counters.Add("plugin_failures");
  spdlog::error("plugin {} failed: {}", slot.spec.name, why);
  if (slot.away == nullptr) {
    slot.away = std::make_shared<Away>();
    slot.away->absence.set_cause("restart");
    slot.away->absence.set_detail(why);
    slot.away->since_ns = parts_.timers.Now();
  }
  Tell(Topic::plugin_fail, slot);
  Answer(slot, Error{"plugin_failed", "plugin " + slot.spec.name + " failed: " + why, 0, 0});
}

// Only code in a process of its own is started again by itself: what failed in this one may fail worse.
void Plugins::RestartLater(Slot& slot) {
  if (!slot.spec.process || stopping_) return Withdraw(slot.spec.name);
  if (slot.running_since_ns != 0 && parts_.timers.Now() - slot.running_since_ns > kMinuteNs) slot.restarts = 0;
  if (slot.restarts >= times_.restarts) return Park(slot);
  const uint64_t delay_ms = std::min(times_.restart_ms << std::min(slot.restarts, 16U), kMostDelayMs);
  ++slot.restarts;
  slot.running_since_ns = 0;
  const std::string token = slot.token;
  slot.timer = parts_.timers.After(delay_ms, [this, token] {
    Slot* again = ByToken(token);
    if (again == nullptr || again->state != State::failed || again->run != nullptr) return;
    parts_.counters.Add("plugin_restarts");
    ++again->all_restarts;
    spdlog::info("plugin {} is started again", again->spec.name);
    Launch(*again);
  });
}

// Until it is loaded or reloaded.
void Plugins::Park(Slot& slot) {
  slot.state = State::parked;
  Withdraw(slot.spec.name);
  slot.detail += "; parked after " + std::to_string(slot.restarts) + " restarts, until it is loaded or reloaded";
  parts_.counters.Add("plugins_parked");
  spdlog::error("plugin {}: {}", slot.spec.name, slot.detail);
  Tell(Topic::plugin_fail, slot);
}

void Plugins::CheckSilence() {
  const uint64_t now = parts_.timers.Now();
  const uint64_t period_ns = std::max<uint64_t>(times_.silence_ms / 8, 10) * kMs;
  // What was said while the loop did not listen is still to be taken.
  const uint64_t passed = now - std::exchange(last_check_ns_, now);
  const uint64_t deaf_ns = passed > 2 * period_ns ? passed - period_ns : 0;
  for (const auto& [name, slot] : slots_) {
    slot->heard_ns = std::min(now, slot->heard_ns + deaf_ns);
    if (slot->busy_until_ns != 0) slot->busy_until_ns += deaf_ns;
    if (slot->state == State::running) CheckSilence(*slot, now);
  }
  parts_.timers.After(period_ns / kMs, [this] { CheckSilence(); });
}

// A plugin that does not answer is shown as failed, and may come back; a process that still does not is ended by force.
// It is not asked to stop first: that, too, it would have to hear.
void Plugins::CheckSilence(Slot& slot, uint64_t now) {
  const uint64_t since = std::max(slot.heard_ns, slot.busy_until_ns);
  const uint64_t silent_ms = now > since ? (now - since) / kMs : 0;
  if (silent_ms < times_.silence_ms) return;
  const std::string what = "it has said nothing for " + std::to_string((now - slot.heard_ns) / kMs) + " ms";
  if (!slot.silent) {
    slot.silent = true;
    slot.detail = what;
    parts_.counters.Add("plugin_failures");
    spdlog::error("plugin {}: {}", slot.spec.name, what);
    parts_.table.AnnounceWaiting(slot.index);
    Tell(Topic::plugin_fail, slot);
  }
  if (slot.spec.process && silent_ms >= times_.silence_ms + times_.hang_ms) {
    parts_.counters.Add("plugins_killed");
    Fail(slot, what + ", and was killed");
    slot.run->Kill();  // its end will be told
  }
}

// Tells a plugin everything anew. That costs a walk over the table, so it has its interval; until then the plugin is
// told nothing, and leaves nothing unconfirmed. Batches that it has not acknowledged still count: to one that takes
// nothing at all, nothing more is sent.
void Plugins::Resync(Slot& slot, const std::string& why) {
  slot.feed->Pause();
  parts_.table.Forget(slot.index);
  parts_.port_service.OnResync(slot.spec.name);
  parts_.timers.Cancel(slot.ports_timer);
  AtItsInterval(slot, [this, why](Slot& again) {
    parts_.counters.Add("plugin_resyncs");
    spdlog::warn("plugin {} {}: it is told everything anew", again.spec.name, why);
    StartFeed(again, true, again.rejoin_timer != Timers::Id{});
  });
}

// The same at its own wish, as it will do otherwise what it was told. What is known of it stays, and it is fed as ever
// until then.
void Plugins::Repeat(Slot& slot) {
  if (slot.state != State::running || !slot.feed->running()) return;
  AtItsInterval(slot, [this](Slot& again) {
    parts_.counters.Add("plugin_repeats");
    spdlog::info("plugin {} asks to be told everything anew", again.spec.name);
    again.feed->Repeat(again.rejoin_timer != Timers::Id{});
    OnFeedStarted(again);
  });
}

// At once, or when a resync after the last one is due, if it runs then. The newest wish counts.
void Plugins::AtItsInterval(Slot& slot, std::function<void(Slot& again)> resync) {
  parts_.timers.Cancel(slot.resync_timer);
  const uint64_t now = parts_.timers.Now();
  const uint64_t due = slot.resynced_ns == 0 ? now : slot.resynced_ns + times_.resync_ms * kMs;
  const auto start = [this, token = slot.token, resync = std::move(resync)] {
    Slot* again = ByToken(token);
    if (again == nullptr || again->state != State::running) return;
    again->resynced_ns = parts_.timers.Now();
    resync(*again);
  };
  if (due <= now) return start();
  slot.resync_timer = parts_.timers.After((due - now + kMs - 1) / kMs, start);
}

// It has been away, and has everything again.
void Plugins::OnCaughtUp(Slot& slot) {
  const std::shared_ptr<Away> away = std::exchange(slot.away, nullptr);
  away->absence.set_ms((parts_.timers.Now() - away->since_ns) / kMs);
  slot.absence = away->absence;
  spdlog::info("plugin {} has every flow again, {} ms after its {} began; meanwhile {}", slot.spec.name,
               away->absence.ms(), away->absence.cause(),
               away->absence.kept() ? "the device went on forwarding" : "the device did not forward");
  if (slot.done) {
    parts_.timers.Cancel(slot.timer);
    Answer(slot, {});
  }
}

}  // namespace sluice::core
