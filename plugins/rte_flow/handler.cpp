// SPDX-License-Identifier: Apache-2.0
#include "handler.h"

#include <chrono>
#include <utility>

#include "sluice/flow_text.h"
#include "sluice/plugin.h"
#include "soft/execute.h"
#include "soft/packet.h"

namespace sluice::rteflow {
namespace {

constexpr size_t kMostUpcalls = 256;      // in one message
constexpr size_t kMostStatistics = 4096;  // read for one message
using Clock = std::chrono::steady_clock;

constexpr auto kTellBusy = std::chrono::milliseconds(200);
constexpr uint32_t kBusyMs = 5'000;
constexpr uint32_t kOpenMs = 10'000;  // a driver may take its time to probe and start a device

}  // namespace

Handler::Handler(Parts parts)
    : parts_(std::move(parts)),
      ports_(*parts_.datapath, parts_.defaults,
             {.opening =
                  [this] {
                    flows_.ForgetTexts();
                    if (busy_) busy_(kOpenMs);
                  },
              .before = [this](Port& port) { flows_.BeforeClose(port); },
              .removed =
                  [this] {
                    if (wake_) wake_();
                  }}),
      flows_(*parts_.datapath, ports_, parts_.log) {}

Handler::~Handler() {
  if (!stopped_) {
    flows_.WithdrawAll();
    ports_.Clear();
  }
  parts_.datapath.reset();  // before the flows that it knows
}

void Handler::OnBatch(const v1::ToPlugin& batch, v1::FromPlugin& reply) {
  auto told = Clock::now();
  for (const auto& change : batch.changes()) {
    OnChange(change, reply);
    // A device may take its time for each rule.
    if (Clock::now() - told < kTellBusy) continue;
    busy_(kBusyMs);
    told = Clock::now();
  }
  if (batch.synced()) {
    flows_.WithdrawStale();
    ports_.DeleteStale();
  }
  flows_.Flush(reply);
}

void Handler::OnChange(const v1::Change& change, v1::FromPlugin& reply) {
  switch (change.body_case()) {
    case v1::Change::kPut:
      flows_.Put(change.put(), change.seq(), reply);
      break;
    case v1::Change::kDel:
      flows_.Delete(change.del(), change.seq());
      break;
    case v1::Change::kPacketOut:
      OnPacketOut(change.packet_out());
      break;
    case v1::Change::kPortPut:
      if (ports_.Put(change.port_put(), reply)) flows_.WithdrawAll();
      break;
    case v1::Change::kPortDel:
      ports_.Delete(change.port_del().name());
      break;
    default:
      break;  // of a later version
  }
}

// Commands to the loop are done in their order: a packet finds the flows that were put before it.
void Handler::OnPacketOut(const v1::PacketOut& packet) {
  const Port* port = ports_.ByName(packet.in_port());
  Result<void> sent;
  std::optional<Actions> actions;
  if (port == nullptr) {
    sent = Error{"no_such_port", "it has no device at present"};
  } else if (packet.has_actions()) {
    const auto parsed = flows_.Parse(packet.actions());
    sent = parsed ? soft::Check(**parsed) : Result<void>(parsed.error());
    if (sent) actions = **parsed;
  }
  if (sent) {
    const auto* data = reinterpret_cast<const uint8_t*>(packet.data().data());
    parts_.datapath->PacketOut(port->number, {data, data + packet.data().size()}, std::move(actions));
  } else if (packet_out_failures_++ == 0) {  // told once a second: the first, and how many there were
    parts_.log(SLUICE_LOG_WARN, "packet out on " + packet.in_port() + ": " + sent.error().detail);
  }
}

void Handler::OnTick(v1::FromPlugin& out) {
  if (packet_out_failures_ > 1) {
    parts_.log(SLUICE_LOG_WARN, std::to_string(packet_out_failures_) + " packets out failed in the last second");
  }
  packet_out_failures_ = 0;
  ports_.Look(out, true);
  ports_.ReportCounters(out);
  flows_.Flush(out);
  reading_ = true;
  ReadSome(out);
}

void Handler::ReadSome(v1::FromPlugin& out) {
  if (!reading_) return;
  if (flows_.CollectStats(kMostStatistics, out)) {
    reading_ = false;
  } else {
    wake_();
  }
}

void Handler::OnWake(v1::FromPlugin& out) {
  ports_.Look(out, false);
  flows_.Flush(out);
  ReadSome(out);
}

void Handler::OnReadable(int, v1::FromPlugin& out) {
  for (DatapathUpcall& upcall : parts_.datapath->TakeUpcalls(kMostUpcalls)) AddUpcall(std::move(upcall), out);
}

void Handler::AddUpcall(DatapathUpcall upcall, v1::FromPlugin& out) {
  const Port* port = ports_.ByNumber(upcall.port);
  if (port == nullptr) return;  // it has gone since
  v1::Upcall& told = *out.add_upcalls();
  told.set_in_port(port->name);
  told.set_reason(upcall.reason);
  told.set_length(upcall.length);
  if (upcall.ufid) told.set_ufid(upcall.ufid->ToString());
  if (port->settings.upcall_match) {
    told.set_match(FormatMatch(soft::ToMatch(soft::Parse(upcall.data, upcall.port)), ports_));
  }
  told.set_data(upcall.data.data(), upcall.data.size());
}

// The devices are this process's and end with it: nothing can be kept.
void Handler::OnStop(bool, v1::FromPlugin& last) {
  ports_.ReportCounters(last);
  flows_.WithdrawAll();
  flows_.Flush(last);
  ports_.Clear();
  stopped_ = true;
}

void Handler::OnResync() {
  flows_.MarkStale();
  ports_.MarkStale();
}

}  // namespace sluice::rteflow
