// SPDX-License-Identifier: Apache-2.0
#include "handler.h"

#include <arpa/inet.h>

#include <cstring>
#include <optional>

#include "sluice/flow_text.h"
#include "sluice/plugin.h"
#include "soft/execute.h"
#include "soft/packet.h"
#include "upcall.h"

namespace sluice::xdp {
namespace {

constexpr size_t kMostToTell = 4096;    // statistics and confirmations in one message
constexpr unsigned kMostUpcalls = 256;  // taken from one socket before the others have their turn
constexpr size_t kMostWaitingPackets = 1024;
constexpr uint32_t kOpenMs = 5'000;  // a driver may take its time to attach a program
constexpr uint32_t kMagicBits = 0xffff0000U;

const char* ReasonOf(uint32_t reason) {
  switch (reason) {
    case SLUICE_UPCALL_ACTION:
      return "action";
    case SLUICE_UPCALL_MALFORMED:
      return "malformed";
    default:
      return "miss";
  }
}

std::span<const uint8_t> BytesOf(std::string_view text) {
  return {reinterpret_cast<const uint8_t*>(text.data()), text.size()};
}

}  // namespace

Handler::Handler(Parts parts)
    : parts_(std::move(parts)),
      passes_(std::move(parts_.pass_maps), parts_.passes,
              {.reclaimer = *parts_.reclaimer,
               .groups = *parts_.groups,
               .listener = flows_,
               .kept = *parts_.kept,
               .before = [this](FlowTable& table) { flows_.BeforeClose(table); },
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

void Handler::OnPacketOut(const v1::PacketOut& packet, v1::FromPlugin& reply) {
  if (waiting_packets_.size() >= kMostWaitingPackets) {
    flows_.Settle(reply);
    GoOn(reply);
  }
  if (flows_.parked().empty() && waiting_packets_.empty()) {
    SendPacket(packet, reply);
  } else {
    waiting_packets_.push_back({flows_.NextTicket(), packet});
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

void Handler::SendQueued() {
  if (const auto sent = soft_path_.Flush(); !sent) PacketOutFailed("packets out: " + sent.error().detail);
}

// Told once a second: the first, and how many there were.
void Handler::PacketOutFailed(const std::string& sentence) {
  if (packet_out_failures_++ == 0) parts_.log(SLUICE_LOG_WARN, sentence);
}

void Handler::SendPacket(const v1::PacketOut& packet, v1::FromPlugin& reply) {
  Port* port = ports_.ByName(packet.in_port());
  Result<void> sent;
  if (port != nullptr) {
    port->CountPacketOut();
    sent = packet.has_actions() ? SendWithActions(*port, packet, {BytesOf(packet.data()), std::nullopt}, reply)
                                : SendByTable(*port, packet, reply);
    if (!sent) port->CountFailedPacketOut();
  } else {
    sent = SendFromTunnel(packet, reply);
  }
  if (!sent) PacketOutFailed("packet out on " + packet.in_port() + ": " + sent.error().detail);
}

// As if its outer headers had just been taken off. Which they were, that a flow might match, cannot be said.
Result<void> Handler::SendFromTunnel(const v1::PacketOut& packet, v1::FromPlugin& reply) {
  const auto number = ports_.Number(packet.in_port());
  const TunnelPort* tunnel = number ? ports_.Tunnel(*number) : nullptr;
  if (tunnel == nullptr) return Error{"no_such_port", "it has no device at present"};
  Port* underlay = ports_.ByNumber(tunnel->underlay);
  if (underlay == nullptr || !packet.has_actions()) {
    return Error{"not_supported", "packets out on a tunnel port need actions, and the port an underlay"};
  }
  sluice_pass pass{};
  pass.in_port = htonl(tunnel->number);
  underlay->CountPacketOut();
  auto sent = SendWithActions(*underlay, packet, {BytesOf(packet.data()), pass}, reply);
  if (!sent) underlay->CountFailedPacketOut();
  return sent;
}

Result<void> Handler::SendWithActions(Port& port, const v1::PacketOut& packet, const SeenPacket& seen,
                                      v1::FromPlugin& reply) {
  const auto actions = planner_.Parse(packet.actions());
  if (!actions) return actions.error();
  if (auto possible = soft::Check(**actions); !possible) return possible;
  return soft_path_.Send(port, seen, **actions, reply);
}

// By the flow that it has, or else, and where software cannot do what that says, as a packet that came, through the
// program.
Result<void> Handler::SendByTable(Port& port, const v1::PacketOut& packet, v1::FromPlugin& reply) {
  const auto bytes = BytesOf(packet.data());
  const soft::Parsed parsed = soft::Parse(bytes, port.number());
  const auto taker = soft_path_.IsOpen() ? flows_.Lookup(port.table(), port.meta().key, parsed) : std::nullopt;
  if (!taker || !soft::Check(*taker->actions)) {
    SendQueued();
    return port.PacketOut(packet.data());
  }
  port.Count(SLUICE_COUNT_rx_bytes, bytes.size());
  port.Count(SLUICE_COUNT_hit_table);
  CountFor(*taker, bytes, parsed);
  soft_path_.Execute(port, {bytes, std::nullopt}, parsed.headers, *taker->actions, &taker->ufid, reply);
  return {};
}

void Handler::CountFor(const FlowStore::Taker& taker, std::span<const uint8_t> packet, const soft::Parsed& parsed) {
  const size_t flags = Info(Field::tcp_flags).offset;
  flows_.CountInSoftware(taker.cookie, packet.size(),
                         static_cast<uint16_t>(parsed.key[flags] << 8 | parsed.key[flags + 1]));
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

void Handler::OnPackets(Port& port, XskSocket& socket, v1::FromPlugin& out) {
  socket.Receive(kMostUpcalls, [&](std::span<const uint8_t> packet, const uint8_t* end_of_metadata) {
    sluice_upcall_meta meta{};
    std::memcpy(&meta, end_of_metadata - sizeof(meta), sizeof(meta));
    if ((meta.magic_reason & kMagicBits) != SLUICE_UPCALL_MAGIC) meta = {};
    meta.magic_reason &= ~kMagicBits;
    const bool later = (meta.magic_reason & SLUICE_UPCALL_PASS) != 0;
    meta.magic_reason &= ~SLUICE_UPCALL_PASS;
    const auto seen = later ? TakePass(packet) : SeenPacket{packet, std::nullopt};
    if (seen) OnPacket(port, meta, *seen, out);
  });
  SendQueued();
}

void Handler::OnPacket(Port& port, const sluice_upcall_meta& meta, const SeenPacket& packet, v1::FromPlugin& out) {
  const uint32_t reason = meta.magic_reason;
  if (reason == SLUICE_UPCALL_SOFTWARE) return OnSoftware(port, meta, packet, out);
  v1::Upcall& upcall = AddUpcall(port, reason, packet, out);
  if (reason != SLUICE_UPCALL_ACTION) return;
  if (const auto taker = SenderOf(port, meta, packet)) upcall.set_ufid(taker->ufid.ToString());
  if (meta.arg != 0 && meta.arg < packet.bytes.size()) upcall.mutable_data()->resize(meta.arg);
}

std::optional<FlowStore::Taker> Handler::SenderOf(Port& port, const sluice_upcall_meta& meta,
                                                  const SeenPacket& packet) const {
  // A step of the first pass's flow says whose record that is.
  if (!packet.pass || packet.pass->depth == 0) return flows_.FindRecord(port.table(), meta.record, meta.gen);
  // Two generations have records of the same numbers.
  if (passes_.current() == nullptr || passes_.IsDraining()) return std::nullopt;
  return flows_.FindRecord(*passes_.current()->table, meta.record, meta.gen);
}

std::optional<FlowStore::Taker> Handler::TakerOf(Port& port, const SeenPacket& packet,
                                                 const soft::Parsed& parsed) const {
  if (!packet.pass) return flows_.Lookup(port.table(), port.meta().key, parsed);
  const PassGeneration* passes = passes_.current();
  if (passes == nullptr) return std::nullopt;
  return flows_.Lookup(*passes->table, passes->object->meta().key, parsed);
}

v1::Upcall& Handler::AddUpcall(const Port& port, uint32_t reason, const SeenPacket& packet, v1::FromPlugin& out) {
  v1::Upcall& upcall = *out.add_upcalls();
  upcall.set_in_port(soft_path_.InPortOf(port, packet));
  upcall.set_reason(ReasonOf(reason));
  upcall.set_data(packet.bytes.data(), packet.bytes.size());
  upcall.set_length(static_cast<uint32_t>(packet.bytes.size()));
  if (port.settings().upcall_match) {
    upcall.set_match(FormatMatch(soft::ToMatch(Parse(packet, port.number())), ports_));
  }
  return upcall;
}

void Handler::OnSoftware(Port& port, const sluice_upcall_meta& meta, const SeenPacket& packet, v1::FromPlugin& out) {
  // The record takes more packets than its flow, and does not count for it.
  const bool wider = meta.arg != 0;
  const soft::Parsed parsed = Parse(packet, port.number());
  auto taker = wider || packet.pass ? std::nullopt : SenderOf(port, meta, packet);
  if (!taker) taker = TakerOf(port, packet, parsed);  // it has changed since, or was never only the flow's
  if (taker) {
    if (wider) CountFor(*taker, packet.bytes, parsed);
    soft_path_.Execute(port, packet, parsed.headers, *taker->actions, &taker->ufid, out);
  } else if (port.settings().miss == SLUICE_MISS_DROP) {
    port.Count(SLUICE_COUNT_miss_drop);
  } else if (!port.MayUpcall()) {
    port.Count(SLUICE_COUNT_upcall_limited);
  } else {
    port.Count(SLUICE_COUNT_upcall);
    AddUpcall(port, SLUICE_UPCALL_MISS, packet, out);
  }
}

void Handler::OnStop(bool keep, v1::FromPlugin& last) {
  // What later passes need has to be there before any port goes on by itself. Ports that were never taken over have
  // what the run before pinned.
  bool own = false;
  ports_.ForEach([&](const Port& port) { own |= !port.IsTakingOver(); });
  auto done = keep && own ? passes_.Keep() : Result<void>{};
  if (done) {
    done = keep ? ports_.KeepAll() : ports_.WithdrawAll();
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
