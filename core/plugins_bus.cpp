// SPDX-License-Identifier: Apache-2.0
// Plugins: what they say on the bus, what they are told, and how they are shown.
#include <spdlog/spdlog.h>
#include <xxhash.h>

#include <algorithm>
#include <array>
#include <utility>

#include "plugins.h"
#include "sluice/utf8.h"

namespace sluice::core {
namespace {

constexpr uint64_t kMs = 1'000'000;
constexpr uint64_t kMostBusyMs = 60'000;  // that it can claim at a time

}  // namespace

void Plugins::OnMessage(const std::string& identity, v1::FromPlugin& message) {
  auto known = identities_.find(identity);
  if (known != identities_.end()) {
    Slot& slot = *slots_.at(known->second);
    if (message.has_hello() && message.hello().token() != slot.token) return Stranger(identity, message);
    if (message.has_hello()) OnHello(slot, identity, message);
    return Take(slot, message);
  }
  Slot* slot = message.has_hello() ? ByToken(message.hello().token()) : nullptr;
  if (slot == nullptr || slot->state == State::failed || slot->state == State::parked) {
    return Stranger(identity, message);
  }
  OnHello(*slot, identity, message);
  Take(*slot, message);
}

// Who has not said hello here is asked to: a plugin that is adopted speaks to another core, until it learns. Who has,
// and was never asked for, is told to go.
void Plugins::Stranger(const std::string& identity, const v1::FromPlugin& message) {
  parts_.counters.Add("plugin_strangers");
  if (message.bye()) return;
  v1::ToPlugin answer;
  answer.set_epoch(parts_.epoch);
  if (message.has_hello()) {
    spdlog::warn("a plugin that this daemon has not loaded says hello as '{}'", message.hello().name().substr(0, 64));
    answer.set_batch(1);
    answer.set_stop(true);
  } else {
    answer.set_introduce(true);
  }
  parts_.send(identity, answer);
}

void Plugins::Take(Slot& slot, v1::FromPlugin& message) {
  slot.heard_ns = parts_.timers.Now();
  slot.busy_until_ns = slot.heard_ns + std::min<uint64_t>(message.busy_ms(), kMostBusyMs) * kMs;
  slot.kept = slot.kept || message.kept();
  if (message.kept() && slot.away != nullptr) slot.away->absence.set_kept(true);
  if (slot.silent) {
    slot.silent = false;
    slot.detail.clear();
    spdlog::info("plugin {} answers again", slot.spec.name);
    Tell(Topic::plugin_load, slot);
  }
  // Statistics first: those of a deleted flow may stand beside the verdict that ends it.
  for (const v1::FlowStats& stats : message.stats()) {
    if (!parts_.table.Count(stats, slot.heard_ns)) parts_.counters.Add("stats_late");
  }
  for (v1::Verdict& verdict : *message.mutable_verdicts()) {
    if (!parts_.table.Judge(slot.index, verdict)) parts_.counters.Add("verdicts_late");
  }
  for (const v1::Port& port : message.ports()) {
    if (!parts_.port_service.OnReport(slot.spec.name, port, slot.feed->holding())) {
      parts_.counters.Add("port_reports_late");
    }
  }
  if (message.upcalls_size() != 0) {
    const auto count = static_cast<uint64_t>(message.upcalls_size());
    parts_.counters.Add("upcalls", count);
    if (!parts_.events.Wanted(Topic::upcall)) parts_.counters.Add("upcall_unheard", count);
    parts_.events.AddUpcalls(*message.mutable_upcalls());
  }
  if (message.ack() != 0) {
    TakeAck(slot, message.ack());
    if (slot.away != nullptr && slot.state == State::running && slot.feed->caught_up()) OnCaughtUp(slot);
  }
  if (message.resync()) Repeat(slot);
  if (message.bye()) OnBye(slot, message.error());
}

// ---- what one brings for the others

// Known by a number that is another one for each run, under whichever daemon.
void Plugins::Announce(const Slot& slot) {
  const std::map<std::string, std::string> provides(slot.capabilities.provides().begin(),
                                                    slot.capabilities.provides().end());
  if (provides.empty()) return Withdraw(slot.spec.name);
  std::string run = slot.token;
  for (const auto& [what, value] : provides) run.append(1, '\0').append(what).append(1, '\0').append(value);
  const uint64_t serial = std::max<uint64_t>(XXH3_64bits(run.data(), run.size()), 1);
  v1::Extension& extension = extensions_[slot.spec.name];
  if (extension.serial() == serial) return;
  extension.set_plugin(slot.spec.name);
  extension.set_serial(serial);
  extension.mutable_provides()->clear();
  extension.mutable_provides()->insert(provides.begin(), provides.end());
  TellOthers(extension);
}

void Plugins::Withdraw(const std::string& name) {
  if (extensions_.erase(name) == 0) return;
  v1::Extension gone;
  gone.set_plugin(name);
  TellOthers(gone);
}

void Plugins::TellOthers(const v1::Extension& extension) {
  for (const auto& [name, slot] : slots_) {
    if (name != extension.plugin()) slot->feed->Tell(extension);
  }
}

void Plugins::TakeAck(Slot& slot, uint64_t batch) {
  switch (slot.feed->Ack(batch)) {
    case Feed::Acked::unknown:
      return parts_.counters.Add("acks_unknown");
    case Feed::Acked::again:
      return parts_.counters.Add("acks_late");
    case Feed::Acked::done:
      return parts_.port_service.OnAck(slot.spec.name, batch);
  }
}

void Plugins::OnBye(Slot& slot, const std::string& error) {
  identities_.erase(slot.identity);
  slot.identity.clear();
  if (slot.state == State::stopping) return EndCode(slot);
  if (slot.state == State::starting) {
    // Its start() will say, or has said, how that came.
    if (slot.started) {
      slot.detail = error;
      EndCode(slot);
    }
    return;
  }
  if (slot.state != State::running) return;
  Fail(slot, error.empty() ? "it said bye without being asked" : error);
  EndCode(slot);
}

void Plugins::Pump() {
  const uint8_t laggard = parts_.table.Laggard();
  for (const auto& [name, slot] : slots_) {
    if (slot->state != State::running) continue;
    if (slot->index == laggard) Resync(*slot, "is too far behind");
    while (slot->feed->Fill(batch_)) {
      batch_.set_epoch(parts_.epoch);
      if (parts_.send(slot->identity, batch_)) continue;
      slot->feed->TakeBack();
      parts_.counters.Add("plugin_batches_dropped");
      Resync(*slot, "did not get a batch");
      break;
    }
  }
}

Result<void> Plugins::PacketOut(const std::string& plugin, v1::PacketOut packet, uint64_t seq) {
  Slot* slot = Find(plugin);
  if (slot == nullptr || slot->state != State::running) {
    return Error{"no_such_plugin", "plugin " + plugin + " is not running", 0, 0};
  }
  if (!slot->feed->Queue(std::move(packet), seq)) {
    parts_.counters.Add("packet_out_dropped");
    return Error{"busy",
                 "plugin " + plugin + " has " + std::to_string(slot->feed->packets()) +
                     " packets waiting, and takes no more before these",
                 0, 0};
  }
  return {};
}

void Plugins::Tell(Topic topic, const Slot& slot) {
  if (v1::Event* event = parts_.events.Add(topic)) ShowOne(slot, *event->mutable_plugin());
}

void Plugins::ShowOne(const Slot& slot, v1::Plugin& out) const {
  static constexpr std::array<const char*, 5> kStateNames = {"starting", "running", "stopping", "failed", "parked"};
  out.set_name(slot.spec.name);
  out.set_version(Utf8(slot.version));
  out.set_path(slot.spec.path);
  out.set_isolation(slot.spec.process ? "process" : "thread");
  out.set_state(slot.silent ? "failed" : kStateNames[static_cast<size_t>(slot.state)]);
  out.set_detail(Utf8(slot.detail));
  out.mutable_options()->insert(slot.spec.options.begin(), slot.spec.options.end());
  *out.mutable_capabilities() = slot.capabilities;
  const auto count = [&](v1::OffloadState state) { return parts_.table.CountOf(slot.index, state); };
  out.set_installed(count(v1::INSTALLED));
  out.set_software(count(v1::SOFTWARE));
  out.set_refused(count(v1::REFUSED));
  out.set_failed(count(v1::FAILED));
  const uint64_t judged = out.installed() + out.software() + out.refused() + out.failed();
  const uint64_t flows = slot.capabilities.no_flows() ? 0 : parts_.table.size();
  out.set_pending(slot.state == State::running && flows > judged ? flows - judged : 0);
  out.set_lag(slot.feed->lag());
  out.set_pid(slot.run != nullptr ? slot.run->pid() : 0);
  out.set_orphan(slot.spec.keep_orphaned ? "keep" : "withdraw");
  out.set_adopted(slot.adopted);
  out.set_restarts(slot.all_restarts);
  if (slot.absence) *out.mutable_absence() = *slot.absence;
}

void Plugins::Show(google::protobuf::RepeatedPtrField<v1::Plugin>& out) const {
  for (const auto& [name, slot] : slots_) ShowOne(*slot, *out.Add());
}

void Plugins::ShowQueues(google::protobuf::RepeatedPtrField<v1::Queue>& out) const {
  for (const auto& [name, slot] : slots_) {
    const auto show = [&, plugin = "plugin." + name](const char* what, uint64_t depth, uint64_t limit) {
      v1::Queue& queue = *out.Add();
      queue.set_name(plugin + "." + what);
      queue.set_depth(depth);
      queue.set_limit(limit);
    };
    const Feed& feed = *slot->feed;
    show("changes", feed.lag(), 0);
    show("batches", feed.running() ? feed.unacknowledged() : 0, feed.limits().window);
    show("packets", feed.packets(), feed.limits().packets);
    show("packet_bytes", feed.packet_bytes(), feed.limits().packet_bytes);
    show("deletes", parts_.table.UnconfirmedOf(slot->index), parts_.table.limits().max_tombstones);
  }
}

}  // namespace sluice::core
