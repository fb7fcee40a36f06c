// SPDX-License-Identifier: Apache-2.0
#include "soft_path.h"

#include <linux/if_ether.h>

#include <cstring>

#include "sluice/flow_text.h"
#include "soft/packet.h"

namespace sluice::xdp {
namespace {

constexpr size_t kMostParsed = 1024;  // action lists remembered

std::span<const uint8_t> Bytes(std::string_view text) {
  return {reinterpret_cast<const uint8_t*>(text.data()), text.size()};
}

}  // namespace

Result<void> SoftPath::Open() {
  auto sender = PacketSender::Open();
  if (!sender) return sender.error();
  sender_.emplace(*std::move(sender));
  return {};
}

Result<const Actions*> SoftPath::Parse(const std::string& text) {
  if (const auto found = parsed_.find(text); found != parsed_.end()) return &found->second;
  auto actions = ParseActions(text, ports_);
  if (!actions) return actions.error();
  if (auto possible = soft::Check(*actions); !possible) return possible.error();
  if (parsed_.size() >= kMostParsed) parsed_.clear();
  return &(parsed_[text] = *std::move(actions));
}

Result<void> SoftPath::Send(Port& in_port, std::string_view packet, const std::string& actions, v1::FromPlugin& out) {
  if (packet.size() < ETH_HLEN) {
    return Error{"bad_packet", "a packet of " + std::to_string(packet.size()) + " bytes has no Ethernet header"};
  }
  const auto parsed = Parse(actions);
  if (!parsed) return parsed.error();
  in_port_ = &in_port;
  out_ = &out;
  in_port.Count(SLUICE_COUNT_executed);
  in_port.Count(SLUICE_COUNT_rx_bytes, packet.size());
  frame_.Assign(Bytes(packet));
  soft::Execute(**parsed, frame_, soft::Parse(Bytes(packet), in_port.number()).headers, *this);
  return {};
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
  upcall.set_in_port(ports_.NameOf(*in_port_));
  upcall.set_reason("action");
  upcall.set_data(frame.data(), frame.size());
  upcall.set_length(static_cast<uint32_t>(length));
  if (!in_port_->settings().upcall_match) return;
  upcall.set_match(FormatMatch(soft::ToMatch(soft::Parse(frame_.bytes(), in_port_->number())), ports_));
}

void SoftPath::Dropped() { in_port_->Count(SLUICE_COUNT_drop); }

}  // namespace sluice::xdp
