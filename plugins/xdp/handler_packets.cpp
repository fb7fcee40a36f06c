// SPDX-License-Identifier: Apache-2.0
// Handler: packets that come up from the programs, and those that are to go out.
#include <arpa/inet.h>

#include <cstring>
#include <optional>
#include <utility>

#include "handler.h"
#include "sluice/flow_text.h"
#include "sluice/plugin.h"
#include "soft/execute.h"
#include "soft/packet.h"
#include "upcall.h"

namespace sluice::xdp {
namespace {

constexpr unsigned kMostUpcalls = 256;  // taken from one socket before the others have their turn
constexpr size_t kMostWaitingPackets = 1024;
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

// ---- out

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

}  // namespace sluice::xdp
