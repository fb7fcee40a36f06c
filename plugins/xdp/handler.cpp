// SPDX-License-Identifier: Apache-2.0
#include "handler.h"

#include <cstring>
#include <optional>

#include "sluice/flow_text.h"
#include "sluice/plugin.h"
#include "soft/packet.h"
#include "upcall.h"

namespace sluice::xdp {
namespace {

constexpr size_t kMostToTell = 4096;    // statistics and confirmations in one message
constexpr unsigned kMostUpcalls = 256;  // taken from one socket before the others have their turn
constexpr uint64_t kNoFlow = 0;         // cookie of a packet out's actions: no flow has it
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

}  // namespace

Handler::Handler(Parts parts)
    : parts_(std::move(parts)),
      ports_({parts_.object_path, *parts_.groups, *parts_.reclaimer, flows_, *parts_.kept}, parts_.defaults,
             {[this](Port& port) { flows_.BeforeClose(port, *parts_.reclaimer); }, [this] { flows_.AfterClose(); }}) {
  flows_.Start(ports_, *parts_.groups, parts_.layout);
  if (const auto opened = soft_path_.Open(); !opened) {
    parts_.log(SLUICE_LOG_WARN, opened.error().detail + "; packets out can have the actions only that XDP has");
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
  TellSome(reply);
}

void Handler::OnSynced(v1::FromPlugin& reply) {
  flows_.WithdrawStale();
  ports_.Synced(epoch_, reply);
  ports_.ForEach([this](Port& port) {
    auto counts = port.TakeKeptCounts();
    if (!counts) return;
    const auto kept = std::make_shared<KeptCounts>(std::move(*counts));
    parts_.reclaimer->AfterGrace(alive_, [this, kept] { flows_.AddKept(*kept); });
  });
}

void Handler::OnChange(const v1::Change& change, v1::FromPlugin& reply) {
  if (change.has_put()) {
    flows_.Put(change.put(), change.seq(), reply);
    return;
  }
  const bool queues = change.has_packet_out() && change.packet_out().has_actions() && soft_path_.IsOpen();
  // All others take effect now, so what came before them has to have.
  if (!queues) {
    flows_.Flush(reply);
    SendQueued();
  }
  switch (change.body_case()) {
    case v1::Change::kDel:
      flows_.Delete(change.del(), change.seq(), reply);
      break;
    case v1::Change::kPortPut:
      soft_path_.PortsChanged();
      if (ports_.Put(change.port_put(), reply) == Ports::Outcome::kRenumbered) flows_.WithdrawAll();
      break;
    case v1::Change::kPortDel:
      soft_path_.PortsChanged();
      ports_.Delete(change.port_del().name());
      break;
    case v1::Change::kPacketOut: {
      const auto sent = SendPacket(change.packet_out(), reply);
      if (!sent) PacketOutFailed("packet out on " + change.packet_out().in_port() + ": " + sent.error().detail);
      break;
    }
    default:
      break;  // of a later version
  }
}

void Handler::SendQueued() {
  if (const auto sent = soft_path_.Flush(); !sent) PacketOutFailed("packets out: " + sent.error().detail);
}

// Told once a second: the first, and how many there were.
void Handler::PacketOutFailed(const std::string& sentence) {
  if (packet_out_failures_++ == 0) parts_.log(SLUICE_LOG_WARN, sentence);
}

Result<void> Handler::SendPacket(const v1::PacketOut& packet, v1::FromPlugin& reply) {
  Port* port = ports_.ByName(packet.in_port());
  if (port == nullptr) return Error{"no_such_port", "it has no device at present"};
  if (!packet.has_actions()) return port->PacketOut(packet.data(), std::nullopt);
  if (soft_path_.IsOpen()) {
    port->CountPacketOut();
    auto queued = soft_path_.Send(*port, packet.data(), packet.actions(), reply);
    if (!queued) port->CountFailedPacketOut();
    return queued;
  }
  const auto actions = ParseActions(packet.actions(), ports_);
  auto compiled = actions ? CompileActions(*actions, *parts_.groups) : Result<CompiledActions>(actions.error());
  auto id = compiled ? port->table().PutActions(*compiled, kNoFlow) : Result<FlowId>(compiled.error());
  if (!id) {
    port->CountFailedPacketOut();
    return id.error();
  }
  auto sent = port->PacketOut(packet.data(), port->table().RecordIndex(*id));
  port->table().Delete(*id);
  return sent;
}

void Handler::OnTick(v1::FromPlugin& out) {
  if (packet_out_failures_ > 1) {
    parts_.log(SLUICE_LOG_WARN, std::to_string(packet_out_failures_) + " packets out failed in the last second");
  }
  packet_out_failures_ = 0;
  ports_.ReportCounters(out);
  if (!flows_.HasMoreToTell()) flows_.CollectStats();
  TellSome(out);
}

void Handler::OnWake(v1::FromPlugin& out) { TellSome(out); }

void Handler::TellSome(v1::FromPlugin& out) {
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
  std::map<int, std::string> changed;
  const bool complete =
      parts_.links->Drain([&](const LinkMonitor::Event& event) { changed[event.ifindex] = event.name; });
  if (!complete) {
    ports_.OnLink(0, nullptr, out);
    return;
  }
  for (const auto& [ifindex, name] : changed) ports_.OnLink(ifindex, &name, out);
}

void Handler::OnPackets(Port& port, XskSocket& socket, v1::FromPlugin& out) {
  const std::string& name = ports_.NameOf(port);
  socket.Receive(kMostUpcalls, [&](std::span<const uint8_t> packet, const uint8_t* end_of_metadata) {
    sluice_upcall_meta meta{};
    std::memcpy(&meta, end_of_metadata - sizeof(meta), sizeof(meta));
    if ((meta.magic_reason & kMagicBits) != SLUICE_UPCALL_MAGIC) meta = {};
    const uint32_t reason = meta.magic_reason & ~kMagicBits;
    v1::Upcall& upcall = *out.add_upcalls();
    upcall.set_in_port(name);
    upcall.set_reason(ReasonOf(reason));
    upcall.set_data(packet.data(), packet.size());
    upcall.set_length(static_cast<uint32_t>(packet.size()));
    if (port.settings().upcall_match) {
      upcall.set_match(FormatMatch(soft::ToMatch(soft::Parse(packet, port.number())), ports_));
    }
    if (reason != SLUICE_UPCALL_ACTION) return;
    const auto ufid = flows_.FlowOfRecord(port, meta.record);
    if (!ufid) return;
    upcall.set_ufid(ufid->ToString());
    const uint32_t max_len = port.table().TerminalArg(meta.record);
    if (max_len != 0 && max_len < packet.size()) upcall.mutable_data()->resize(max_len);
  });
}

void Handler::OnStop(bool keep, v1::FromPlugin& last) {
  const auto done = keep ? ports_.KeepAll() : ports_.WithdrawAll();
  if (!done) {
    parts_.log(SLUICE_LOG_ERROR, done.error().detail);
    last.set_error(done.error().detail);
  }
  // Packets that are on their way through the programs count, too.
  parts_.reclaimer->AfterGrace(alive_, [] {});
  parts_.reclaimer->Drain();
  flows_.CollectStats();
  ports_.ForEach([this](const Port& port) {
    if (!port.IsKept()) return;
    WriteKeptFlows(parts_.kept->CountsPath(port.device().ifindex), epoch_, flows_.FlowsToKeep(port));
  });
  ports_.ReportCounters(last);
  stopped_ = true;
  TellSome(last);  // and what is more before the bye
}

void Handler::OnResync() {
  flows_.MarkStale();
  ports_.MarkStale();
}

}  // namespace sluice::xdp
