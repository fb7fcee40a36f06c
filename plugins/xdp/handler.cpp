// SPDX-License-Identifier: Apache-2.0
#include "handler.h"

#include <utility>

#include "sluice/plugin.h"

namespace sluice::xdp {
namespace {

constexpr size_t kMostToTell = 4096;  // statistics and confirmations in one message
constexpr uint32_t kOpenMs = 5'000;   // a driver may take its time to attach a program

}  // namespace

Handler::Handler(Parts parts)
    : parts_(std::move(parts)),
      passes_(std::move(parts_.pass_maps), parts_.passes,
              {.reclaimer = *parts_.reclaimer,
               .groups = *parts_.groups,
               .listener = flows_,
               .kept = *parts_.kept,
               .before =
                   [this](FlowTable& table) {
                     if (busy_) busy_(kOpenMs);
                     flows_.BeforeClose(table);
                   },
               .after = [this] { flows_.AfterClose(); },
               .changed = [this] { planner_.OnPasses(); },
               .log = parts_.log}),
      ports_({parts_.object_path, *parts_.groups, *parts_.reclaimer, flows_, *parts_.kept, passes_}, parts_.defaults,
             {.opening =
                  [this] {
                    if (busy_) busy_(kOpenMs);
                  },
              .before = [this](Port& port) { flows_.BeforeClose(port.table()); },
              .after = [this] { flows_.AfterClose(); },
              .tunnels = [this] { resync_ = true; }}),
      planner_(ports_, *parts_.groups, passes_) {
  flows_.Start(ports_, passes_, planner_, *parts_.reclaimer);
  if (const auto opened = soft_path_.Open(); !opened) {
    parts_.log(SLUICE_LOG_WARN,
               opened.error().detail + "; neither software flows nor packets out with actions are sent");
  }
}

Handler::~Handler() {
  if (!stopped_) (void)ports_.WithdrawAll();
}

void Handler::OnBatch(const v1::ToPlugin& batch, v1::FromPlugin& reply) {
  for (const auto& change : batch.changes()) OnChange(change, reply);
  flows_.Flush(reply);
  SendQueued();
  epoch_ = batch.epoch();
  if (batch.synced()) OnSynced(reply);
  GoOn(reply);
  if (steps_seen_ != passes_.steps().taken()) neighbours_.Look(passes_.steps());
  steps_seen_ = passes_.steps().taken();
  TellSome(reply);
}

void Handler::OnSynced(v1::FromPlugin& reply) {
  planner_.Forget();
  // Packets must not meet a new program that some flows are not in yet.
  bool taking_over = false;
  ports_.ForEach([&](const Port& port) { taking_over |= port.IsTakingOver(); });
  passes_.OnChange();
  if (taking_over || passes_.IsChanging()) flows_.Settle(reply);
  flows_.WithdrawStale();
  ports_.Synced(epoch_, reply);
  passes_.OnSynced();
  ports_.ForEach([this](Port& port) {
    auto counts = port.TakeKeptCounts();
    if (!counts) return;
    const auto kept = std::make_shared<KeptCounts>(std::move(*counts));
    parts_.reclaimer->AfterGrace(alive_, [this, kept] { flows_.AddKept(*kept); });
  });
  if (parts_.kept->HasPins()) return;
  auto opened = passes_.OpenKept(epoch_);
  const auto kept = opened ? std::make_shared<KeptCounts>(*std::move(opened)) : nullptr;
  // Packets may still be in the programs of an earlier run.
  parts_.reclaimer->AfterGrace(alive_, [this, kept] {
    if (kept != nullptr) flows_.AddKept(*kept);
    if (!stopped_) parts_.kept->RemovePasses();
  });
}

void Handler::OnChange(const v1::Change& change, v1::FromPlugin& reply) {
  if (change.has_put()) {
    passes_.OnChange();
    flows_.Put(change.put(), change.seq(), reply);
    return;
  }
  if (change.has_packet_out()) {
    if (!change.packet_out().has_actions()) flows_.Flush(reply);  // it is looked up
    OnPacketOut(change.packet_out(), reply);
    return;
  }
  // The others take effect now, so what came before them has to have.
  flows_.Flush(reply);
  SendQueued();
  switch (change.body_case()) {
    case v1::Change::kDel:
      flows_.Delete(change.del(), change.seq(), reply);
      break;
    case v1::Change::kPortPut:
      passes_.OnChange();
      planner_.Forget();
      if (ports_.Put(change.port_put(), reply) == Ports::Outcome::kRenumbered) flows_.WithdrawAll();
      break;
    case v1::Change::kPortDel:
      planner_.Forget();
      ports_.Delete(change.port_del().name(), reply);
      break;
    case v1::Change::kExtension:
      if (busy_) busy_(kOpenMs);
      passes_.OnExtension(change.extension());
      break;
    default:
      break;  // of a later version
  }
}

void Handler::GoOn(v1::FromPlugin& out, bool anyhow) {
  if (stopped_) return;
  if (flows_.Retry(out, anyhow)) wake_();
  while (!waiting_packets_.empty() && !flows_.parked().HasBefore(waiting_packets_.front().ticket)) {
    SendPacket(waiting_packets_.front().packet, out);
    waiting_packets_.pop_front();
  }
  SendQueued();
}

void Handler::OnTick(v1::FromPlugin& out) {
  if (packet_out_failures_ > 1) {
    parts_.log(SLUICE_LOG_WARN, std::to_string(packet_out_failures_) + " packets out failed in the last second");
  }
  packet_out_failures_ = 0;
  planner_.Forget();
  ports_.OnTick(out);
  neighbours_.Look(passes_.steps());
  GoOn(out, true);
  ports_.ReportCounters(out);
  if (!flows_.HasMoreToTell()) flows_.CollectStats();
  TellSome(out);
}

void Handler::OnWake(v1::FromPlugin& out) {
  GoOn(out);
  TellSome(out);
}

void Handler::TellSome(v1::FromPlugin& out) {
  resync_ |= passes_.TakeResync();
  if (resync_ && !stopped_) out.set_resync(true);
  resync_ = false;
  if (flows_.Tell(out, kMostToTell)) wake_();
}

std::vector<int> Handler::Fds() {
  std::vector<int> fds = {parts_.reclaimer->fd(), parts_.links->fd()};
  sockets_.clear();
  ports_.ForEach([&](const Port& port) {
    for (size_t i = 0; i < port.sockets().size(); ++i) {
      const int fd = port.sockets()[i]->fd();
      sockets_[fd] = {port.serial(), i};
      fds.push_back(fd);
    }
  });
  return fds;
}

void Handler::OnReadable(int fd, v1::FromPlugin& out) {
  if (fd == parts_.reclaimer->fd()) {
    parts_.reclaimer->Poll();
    GoOn(out);
    TellSome(out);
  } else if (fd == parts_.links->fd()) {
    OnLinks(out);
  } else if (const auto found = sockets_.find(fd); found != sockets_.end()) {
    const auto [serial, place] = found->second;
    Port* port = ports_.BySerial(serial);
    if (port != nullptr) OnPackets(*port, *port->sockets()[place], out);
  }
}

void Handler::OnLinks(v1::FromPlugin& out) {
  planner_.Forget();
  std::map<int, LinkMonitor::Event> changed;
  const bool complete = parts_.links->Drain([&](const LinkMonitor::Event& event) {
    const auto [at, first] = changed.emplace(event.ifindex, event);
    if (first) return;
    at->second.name = event.name;
    at->second.removed |= event.removed;
  });
  if (!complete) {
    ports_.OnAnyLink(out);
    return;
  }
  for (const auto& [ifindex, event] : changed) ports_.OnLink(event, out);
  TellSome(out);
}

void Handler::OnStop(bool keep, v1::FromPlugin& last) {
  // What later passes need has to be there before any port goes on by itself. Ports that were never taken over have
  // what the run before pinned.
  bool own = false;
  ports_.ForEach([&](const Port& port) { own |= !port.IsTakingOver(); });
  auto done = keep && own ? passes_.Keep() : Result<void>{};
  if (done) {
    done = keep ? ports_.KeepAll() : ports_.WithdrawAll();
    // Also of ports that the core had no time to tell of.
    if (!keep && done) done = ports_.WithdrawKept();
  } else {
    (void)ports_.WithdrawAll();
  }
  if (!done) {
    parts_.log(SLUICE_LOG_ERROR, done.error().detail);
    last.set_error(done.error().detail);
  }
  last.set_kept(keep && done);
  stopped_ = true;
  // Packets that are on their way through the programs count, too.
  parts_.reclaimer->AfterGrace(alive_, [] {});
  parts_.reclaimer->Drain();
  if (!parts_.kept->HasPins()) parts_.kept->RemovePasses();
  flows_.CollectStats();
  bool kept = false;
  ports_.ForEach([&](const Port& port) {
    if (!port.IsKept()) return;
    kept = true;
    WriteKeptFlows(parts_.kept->CountsPath(port.device().ifindex), epoch_, flows_.FlowsToKeep(port.table()));
  });
  if (kept && passes_.current() != nullptr) {
    passes_.WriteKept(epoch_, flows_.FlowsToKeep(*passes_.current()->table));
  }
  ports_.ReportCounters(last);
  TellSome(last);  // and what is more before the bye
}

void Handler::OnResync() {
  passes_.OnResync();
  resync_ = false;
  flows_.MarkStale();
  ports_.MarkStale();
}

}  // namespace sluice::xdp
