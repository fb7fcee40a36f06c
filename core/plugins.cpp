// SPDX-License-Identifier: Apache-2.0
#include "plugins.h"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <utility>

namespace sluice::core {
namespace {

std::string Seconds(uint64_t ms) { return std::to_string((ms + 999) / 1000) + " s"; }

}  // namespace

Plugins::Plugins(Parts parts, PluginTimes times, FeedLimits feed_limits)
    : parts_(std::move(parts)), times_(times), feed_limits_(feed_limits), last_check_ns_(parts_.timers.Now()) {
  CheckSilence();
}

Plugins::~Plugins() = default;

Plugins::Slot* Plugins::Find(const std::string& name) {
  auto it = slots_.find(name);
  return it == slots_.end() ? nullptr : it->second.get();
}

Plugins::Slot* Plugins::ByToken(const std::string& token) {
  for (const auto& [name, slot] : slots_) {
    if (slot->token == token) return slot.get();
  }
  return nullptr;
}

bool Plugins::Has(const std::string& name) const {
  auto it = slots_.find(name);
  if (it == slots_.end()) return false;
  return it->second->state == State::running || it->second->state == State::starting;
}

bool Plugins::Holding(const std::string& name) const {
  auto it = slots_.find(name);
  return it != slots_.end() && it->second->feed->holding();
}

void Plugins::Answer(Slot& slot, Result<void> result) {
  if (auto done = std::exchange(slot.done, nullptr)) done(std::move(result));
}

// ---- loading

void Plugins::Load(PluginSpec spec, bool stays, Done done) {
  if (stopping_) return done(Error{"stopping", "the daemon is stopping", 0, 0});
  auto slot = MakeSlot(std::move(spec));
  if (!slot) return done(slot.error());
  (*slot)->stays = stays;
  (*slot)->done = std::move(done);
  Launch(**slot);
}

Result<void> Plugins::Adopt(const Orphan& orphan) {
  auto made = MakeSlot(orphan.spec);
  if (!made) return made.error();
  Slot& slot = **made;
  auto run = parts_.launcher.Adopt(orphan, EventsOf(orphan.token));
  if (!run) {
    Erase(slot);
    return run.error();
  }
  slot.run = std::move(*run);
  slot.token = orphan.token;
  slot.version = orphan.version;
  slot.stays = true;
  slot.adopted = true;
  slot.started = true;
  Watch(slot, times_.start_ms);
  return {};
}

// In the place of one that has failed, too.
Result<Plugins::Slot*> Plugins::MakeSlot(PluginSpec spec) {
  if (Slot* old = Find(spec.name)) {
    if (old->state != State::failed && old->state != State::parked) {
      return Error{"already_loaded", "plugin " + spec.name + " is loaded already", 0, 0};
    }
    if (old->run != nullptr) return Error{"busy", "plugin " + spec.name + " has failed and is still ending", 0, 0};
    Erase(*old);
  }
  auto free = std::find(taken_.begin(), taken_.end(), false);
  if (free == taken_.end()) {
    return Error{"too_many_plugins", "there are " + std::to_string(kMaxPlugins) + " plugins already", 0, 0};
  }
  *free = true;
  auto slot = std::make_unique<Slot>();
  slot->spec = std::move(spec);
  slot->index = static_cast<uint8_t>(free - taken_.begin());
  slot->feed =
      std::make_unique<Feed>(parts_.journal, parts_.table, parts_.ports, slot->spec.name, slot->index, feed_limits_);
  return (slots_[slot->spec.name] = std::move(slot)).get();
}

void Plugins::Launch(Slot& slot) {
  slot.state = State::starting;
  slot.detail.clear();
  slot.started = false;
  slot.adopted = false;
  slot.token = parts_.epoch + "/" + slot.spec.name + "/" + std::to_string(++tokens_);
  Watch(slot, times_.start_ms);
  auto run = parts_.launcher.Launch(slot.spec, slot.token, EventsOf(slot.token));
  if (run) {
    slot.run = std::move(*run);
  } else {
    StartFailed(slot, run.error());
  }
}

void Plugins::Watch(Slot& slot, uint64_t start_ms) {
  slot.timer = parts_.timers.After(start_ms, [this, token = slot.token] { StartTimeout(token); });
}

RunEvents Plugins::EventsOf(const std::string& token) {
  return {.started = [this, token](const std::string& version) { OnStarted(token, version); },
          .ended = [this, token](const std::string& error) { OnEnded(token, error); }};
}

void Plugins::OnStarted(const std::string& token, const std::string& version) {
  Slot* slot = ByToken(token);
  if (slot == nullptr || slot->state != State::starting) return;
  slot->started = true;
  slot->version = version;
  RunWhenReady(*slot);
}

void Plugins::OnHello(Slot& slot, const std::string& identity, v1::FromPlugin& message) {
  identities_.erase(slot.identity);
  slot.identity = identity;
  identities_[identity] = slot.spec.name;
  slot.feed->ForgetDebt();
  slot.capabilities = std::move(*message.mutable_hello()->mutable_capabilities());
  slot.feed->LeaveOutFlows(slot.capabilities.no_flows());
  if (slot.version.empty()) slot.version = message.hello().version();
  slot.heard_ns = parts_.timers.Now();
  if (slot.state == State::running) {
    Announce(slot);
    Resync(slot, "has said hello again");
  } else {
    RunWhenReady(slot);
  }
}

void Plugins::RunWhenReady(Slot& slot) {
  if (!slot.started || slot.identity.empty() || slot.state != State::starting) return;
  parts_.timers.Cancel(slot.timer);
  slot.state = State::running;
  slot.silent = false;
  slot.heard_ns = parts_.timers.Now();
  slot.running_since_ns = slot.heard_ns;
  slot.stays = true;
  const std::string token = slot.token;
  if (slot.adopted) {
    spdlog::info("plugin {} {} is taken over from an earlier daemon, with what it has", slot.spec.name, slot.version);
    slot.detail = "what is not put again within " + Seconds(times_.rejoin_ms) + " is withdrawn";
    slot.rejoin_timer = parts_.timers.After(times_.rejoin_ms, [this, token] {
      Slot* rejoined = ByToken(token);
      if (rejoined == nullptr) return;
      rejoined->rejoin_timer = {};
      rejoined->detail.clear();
      rejoined->feed->FinishSync();
    });
  } else {
    spdlog::info("plugin {} {} runs ({})", slot.spec.name, slot.version, slot.spec.process ? "process" : "thread");
  }
  Tell(Topic::plugin_load, slot);
  Announce(slot);
  StartFeed(slot, slot.adopted, slot.adopted);
  if (slot.away == nullptr || !slot.done) return Answer(slot, {});
  // A reload is done when the new one has everything.
  slot.timer = parts_.timers.After(times_.start_ms, [this, token] {
    if (Slot* late = ByToken(token)) Answer(*late, {});
  });
}

void Plugins::StartFeed(Slot& slot, bool resync, bool wait) {
  if (names_.size() <= slot.index) names_.resize(slot.index + 1U);
  // Who takes no flows has no word on any.
  names_[slot.index] = slot.capabilities.no_flows() ? std::string() : slot.spec.name;
  slot.feed->Start(resync, wait);
  OnFeedStarted(slot);
}

void Plugins::OnFeedStarted(Slot& slot) {
  for (const auto& [name, extension] : extensions_) {
    if (name != slot.spec.name) slot.feed->Tell(extension);
  }
  parts_.timers.Cancel(slot.ports_timer);
  const std::string token = slot.token;
  slot.ports_timer = parts_.timers.After(times_.ports_ms, [this, token] {
    if (Slot* late = ByToken(token)) late->feed->Release();
  });
}

void Plugins::StartTimeout(const std::string& token) {
  Slot* slot = ByToken(token);
  if (slot == nullptr || slot->state != State::starting) return;
  const std::string what = slot->started ? "has started but not said hello" : "has not started";
  const Error error{"timeout", "plugin " + slot->spec.name + " " + what + " within " + Seconds(times_.start_ms), 0, 0};
  slot->state = State::failed;
  slot->detail = error.detail;
  spdlog::error("{}", error.detail);
  Answer(*slot, error);
  EndCode(*slot);
}

// It could not start, and its code is gone.
void Plugins::StartFailed(Slot& slot, const Error& error) {
  parts_.timers.Cancel(slot.timer);
  Gone(slot);
  slot.run.reset();
  slot.state = State::failed;
  slot.detail = error.detail;
  spdlog::error("plugin {} did not start: {}", slot.spec.name, error.detail);
  auto done = std::exchange(slot.done, nullptr);
  Tell(Topic::plugin_fail, slot);
  if (!slot.stays) {
    Erase(slot);
  } else if (slot.restarts != 0) {
    RestartLater(slot);
  } else {
    Withdraw(slot.spec.name);
  }
  if (done) done(error);
}

// ---- the end

void Plugins::OnEnded(const std::string& token, const std::string& error) {
  Slot* slot = ByToken(token);
  if (slot == nullptr) return;
  const std::string name = slot->spec.name;
  parts_.timers.Cancel(slot->timer);
  switch (slot->state) {
    case State::starting:
      return StartFailed(*slot, Error{"start_failed", error.empty() ? slot->detail : error, 0, 0});
    case State::stopping: {
      Gone(*slot);
      spdlog::info("plugin {} is unloaded", name);
      auto done = std::exchange(slot->done, nullptr);
      Tell(Topic::plugin_unload, *slot);
      Erase(*slot);
      if (done) done(error.empty() ? Result<void>() : Result<void>(Error{"stop_failed", error, 0, 0}));
      if (slots_.empty() && all_stopped_) std::exchange(all_stopped_, nullptr)();
      return;
    }
    case State::running:
      Fail(*slot, error.empty() ? "it ended without being asked" : error);
      break;
    case State::failed:
    case State::parked:
      break;
  }
  slot->run.reset();
  if (!slot->stays) return Erase(*slot);
  RestartLater(*slot);
}

// Nothing that the plugin said holds any longer, and nothing waits for it.
void Plugins::Gone(Slot& slot) {
  for (Timers::Id* timer : {&slot.ports_timer, &slot.resync_timer, &slot.rejoin_timer}) parts_.timers.Cancel(*timer);
  identities_.erase(slot.identity);
  slot.identity.clear();
  // Packets that waited for it.
  if (slot.feed->packets() != 0) parts_.counters.Add("packet_out_dropped", slot.feed->packets());
  slot.feed->Stop();
  if (slot.index < names_.size()) names_[slot.index].clear();
  parts_.table.Forget(slot.index);
  parts_.port_service.OnPluginGone(slot.spec.name);
}

void Plugins::Erase(Slot& slot) {
  parts_.timers.Cancel(slot.timer);
  if (!slot.reloading && !slot.kept) Withdraw(slot.spec.name);
  taken_[slot.index] = false;
  slots_.erase(std::string(slot.spec.name));
}

void Plugins::EndCode(Slot& slot) {
  parts_.timers.Cancel(slot.timer);
  if (slot.run == nullptr) return;
  slot.run->Stop();
  const std::string token = slot.token;
  slot.timer = parts_.timers.After(times_.stop_ms, [this, token] { EndTimeout(token); });
}

void Plugins::EndTimeout(const std::string& token) {
  Slot* slot = ByToken(token);
  if (slot == nullptr || slot->run == nullptr) return;
  const std::string name = slot->spec.name;
  spdlog::error("plugin {} did not stop within {}", name, Seconds(times_.stop_ms));
  if (slot->run->Kill()) return;  // its end will be told
  parts_.counters.Add("plugin_threads_lost");
  lost_.push_back(std::move(slot->run));
  OnEnded(token, "plugin " + name + " did not stop within " + Seconds(times_.stop_ms) + ": its thread is left behind");
}

void Plugins::Unload(const std::string& name, bool keep, Done done) {
  Slot* slot = Find(name);
  if (slot == nullptr) return done(Error{"no_such_plugin", "no plugin " + name + " is loaded", 0, 0});
  if (slot->state == State::starting || slot->state == State::stopping) {
    const std::string doing = slot->state == State::starting ? "starting" : "stopping";
    return done(Error{"busy", "plugin " + name + " is " + doing, 0, 0});
  }
  const bool failed = slot->state == State::failed || slot->state == State::parked;
  Answer(*slot, {});  // a reload that has run, but not yet caught up
  parts_.timers.Cancel(slot->timer);
  slot->state = State::stopping;
  slot->done = std::move(done);
  if (slot->run == nullptr) return OnEnded(slot->token, "");
  if (failed || slot->identity.empty()) return EndCode(*slot);
  v1::ToPlugin stop;
  stop.set_batch(slot->feed->NextBatch());
  stop.set_epoch(parts_.epoch);
  stop.set_stop(true);
  stop.set_keep(keep);
  if (!parts_.send(slot->identity, stop)) return EndCode(*slot);
  const std::string token = slot->token;
  slot->timer = parts_.timers.After(times_.stop_ms, [this, token] {
    Slot* late = ByToken(token);
    if (late == nullptr || late->state != State::stopping) return;
    spdlog::warn("plugin {} did not say bye within {}", late->spec.name, Seconds(times_.stop_ms));
    EndCode(*late);
  });
}

void Plugins::Reload(const std::string& name, const Done& done) {
  Slot* slot = Find(name);
  if (slot == nullptr) return done(Error{"no_such_plugin", "no plugin " + name + " is loaded", 0, 0});
  slot->reloading = true;
  auto away = slot->away = std::make_shared<Away>();
  away->absence.set_cause("reload");
  away->since_ns = parts_.timers.Now();
  const auto load = [this, spec = slot->spec, away, done]() {
    Load(spec, true, done);
    if (!slots_.contains(spec.name)) Withdraw(spec.name);
    if (Slot* loaded = Find(spec.name); loaded != nullptr && loaded->state == State::starting) loaded->away = away;
  };
  Unload(name, true, [this, load, name, away, done](const Result<void>& unloaded) {
    // From the top of the loop: this is called from the midst of the unload.
    if (unloaded) return (void)parts_.timers.After(0, load);
    Slot* busy = Find(name);
    if (busy == nullptr) Withdraw(name);
    if (busy != nullptr && busy->away == away) {
      busy->away = nullptr;
      busy->reloading = false;
    }
    done(unloaded);
  });
}

void Plugins::StopAll(std::function<void()> done) {
  stopping_ = true;
  all_stopped_ = std::move(done);
  std::vector<std::string> all;
  for (const auto& [name, slot] : slots_) all.push_back(name);
  for (const std::string& name : all) {
    Slot& slot = *Find(name);
    if (slot.state == State::starting) {
      slot.state = State::stopping;
      Answer(slot, Error{"stopping", "the daemon is stopping", 0, 0});
      EndCode(slot);
    } else if (slot.state != State::stopping) {
      Unload(name, false, [](const Result<void>&) {});
    }
  }
  if (slots_.empty() && all_stopped_) std::exchange(all_stopped_, nullptr)();
}

}  // namespace sluice::core
