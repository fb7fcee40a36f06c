// SPDX-License-Identifier: Apache-2.0
#include "soft_path.h"

#include <arpa/inet.h>
#include <linux/if_ether.h>

#include <cstring>

#include "sluice/flow_text.h"
#include "soft/packet.h"

namespace sluice::xdp {

Result<void> SoftPath::Open() {
  auto sender = PacketSender::Open();
  if (!sender) return sender.error();
  sender_.emplace(*std::move(sender));
  return {};
}

Result<void> SoftPath::Send(Port& in_port, const SeenPacket& packet, const Actions& actions, v1::FromPlugin& out) {
  if (!sender_) return Error{"not_open", "there is no packet socket to send by"};
  if (packet.bytes.size() < ETH_HLEN) {
    return Error{"bad_packet", "a packet of " + std::to_string(packet.bytes.size()) + " bytes has no Ethernet header"};
  }
  in_port.Count(SLUICE_COUNT_executed);
  in_port.Count(SLUICE_COUNT_rx_bytes, packet.bytes.size());
  Execute(in_port, packet, Parse(packet, in_port.number()).headers, actions, nullptr, out);
  return {};
}

std::string SoftPath::InPortOf(const Port& in_port, const SeenPacket& packet) const {
  const auto name = packet.pass ? ports_.Name(ntohl(packet.pass->in_port)) : std::nullopt;
  return name.value_or(ports_.NameOf(in_port));
}

void SoftPath::Execute(Port& in_port, const SeenPacket& packet, const soft::Headers& headers, const Actions& actions,
                       const Ufid* ufid, v1::FromPlugin& out) {
  if (!sender_) return in_port.Count(SLUICE_COUNT_software_failed);
  in_port_ = &in_port;
  pass_ = packet.pass;
  ufid_ = ufid;
  out_ = &out;
  frame_.Assign(packet.bytes);
  soft::Execute(actions, frame_, headers, *this);
}

Result<void> SoftPath::Flush() {
  if (!sender_) return {};
  const auto outcome = sender_->Flush();
  if (outcome.failed == 0) return {};
  Port* port = nullptr;
  ports_.ForEach([&](Port& each) {
    if (each.device().ifindex == outcome.ifindex) port = &each;
  });
  if (port != nullptr) port->CountFailedPacketOut(outcome.failed);
  const std::string name = port != nullptr ? ports_.NameOf(*port) : "a device that is gone";
  return Error{"send_failed", std::to_string(outcome.failed) + " frames were not taken by " + name + ": " +
                                  std::strerror(outcome.error)};
}

void SoftPath::Output(uint32_t port, std::span<const uint8_t> frame) {
  const Port* to = ports_.ByNumber(port);
  if (to == nullptr) return in_port_->Count(SLUICE_COUNT_no_port);
  in_port_->Count(SLUICE_COUNT_output);
  sender_->Queue(to->device().ifindex, frame);
}

void SoftPath::Flood(std::span<const uint8_t> frame) {
  in_port_->Count(SLUICE_COUNT_output_many);
  ports_.ForEach([&](const Port& port) {
    if (&port != in_port_) sender_->Queue(port.device().ifindex, frame);
  });
}

void SoftPath::ToController(const sluice::ToController& action, std::span<const uint8_t> frame, size_t length) {
  if (!in_port_->MayUpcall()) return in_port_->Count(SLUICE_COUNT_upcall_limited);
  in_port_->Count(SLUICE_COUNT_upcall);
  if (action.max_len != 0 && action.max_len < frame.size()) frame = frame.first(action.max_len);
  v1::Upcall& upcall = *out_->add_upcalls();
  const SeenPacket seen{frame_.bytes(), pass_};
  upcall.set_in_port(InPortOf(*in_port_, seen));
  upcall.set_reason("action");
  upcall.set_data(frame.data(), frame.size());
  upcall.set_length(static_cast<uint32_t>(length));
  if (ufid_ != nullptr) upcall.set_ufid(ufid_->ToString());
  if (!in_port_->settings().upcall_match) return;
  upcall.set_match(FormatMatch(soft::ToMatch(Parse(seen, in_port_->number())), ports_));
}

void SoftPath::Expired() { in_port_->Count(SLUICE_COUNT_ttl_expired); }

void SoftPath::Dropped() { in_port_->Count(SLUICE_COUNT_drop); }

}  // namespace sluice::xdp
