// SPDX-License-Identifier: Apache-2.0
#include "feed.h"

#include <algorithm>
#include <utility>

namespace sluice::core {

Feed::Feed(Journal& journal, FlowTable& table, Ports& ports, std::string plugin, uint8_t index, FeedLimits limits)
    : journal_(journal), table_(table), ports_(ports), plugin_(std::move(plugin)), index_(index), limits_(limits) {}

void Feed::Start(bool resync, bool wait) {
  Begin(resync, wait);
  repeating_ = false;
}

void Feed::Repeat(bool wait) {
  Begin(true, wait);
  repeating_ = true;
}

void Feed::Begin(bool resync, bool wait) {
  cursor_.emplace(journal_);
  extensions_.clear();
  starting_ = true;
  resync_ = resync;
  holding_ = false;
  wait_ = wait;
  synced_ = false;
}

void Feed::Stop() {
  cursor_.reset();
  packets_.clear();
  packet_bytes_ = 0;
}

bool Feed::PortsReported() const {
  const auto ports = ports_.Of(plugin_);
  return std::all_of(ports.begin(), ports.end(),
                     [](const PortEntry* port) { return !port->offered || port->reported; });
}

bool Feed::Fill(v1::ToPlugin& out) {
  if (!running() || last_batch_ - acked_ >= limits_.window) return false;
  out.Clear();
  for (v1::Extension& extension : extensions_) *out.add_changes()->mutable_extension() = std::move(extension);
  extensions_.clear();
  if (starting_) {
    starting_ = false;
    out.set_resync(resync_);
    OfferPorts(out);
    holding_ = !PortsReported();
  } else if (holding_ && PortsReported()) {
    holding_ = false;
  }
  while (!holding_ && out.changes_size() < limits_.batch) {
    Entry* entry = cursor_->Peek();
    if (!packets_.empty() && (entry == nullptr || packets_.front().seq < entry->seq)) {
      v1::Change& change = *out.add_changes();
      change.set_seq(packets_.front().seq);
      packet_bytes_ -= packets_.front().packet.data().size();
      *change.mutable_packet_out() = std::move(packets_.front().packet);
      packets_.pop_front();
      continue;
    }
    if (entry == nullptr) break;
    cursor_->Advance();
    Offer(*entry, out);
  }
  if (!holding_ && !wait_ && !synced_ && cursor_->Peek() == nullptr) {
    synced_ = true;
    synced_batch_ = last_batch_ + 1;
    out.set_synced(true);
  }
  if (out.changes_size() == 0 && !out.synced() && !out.resync()) return false;
  out.set_batch(++last_batch_);
  return true;
}

void Feed::Offer(Entry& entry, v1::ToPlugin& out) {
  switch (entry.kind) {
    case EntryKind::flow:
    case EntryKind::tombstone:
      if (!no_flows_) table_.Offer(static_cast<Flow&>(entry), index_, *out.mutable_changes());
      return;
    case EntryKind::port:
    case EntryKind::port_tombstone:
      if (static_cast<PortEntry&>(entry).port.plugin() == plugin_) OfferPort(static_cast<PortEntry&>(entry), out);
      return;
  }
}

void Feed::OfferPorts(v1::ToPlugin& out) {
  for (PortEntry* entry : ports_.Of(plugin_)) {
    // One that was never told comes in its place: another of the same name may have to end before.
    if (repeating_ && !std::exchange(entry->offered, false)) continue;
    OfferPort(*entry, out);
  }
}

void Feed::OfferPort(PortEntry& entry, v1::ToPlugin& out) {
  const bool attach = entry.kind == EntryKind::port;
  if (attach ? entry.offered : entry.removal_batch != 0) return;  // told when the feed began, or before that
  v1::Change& change = *out.add_changes();
  change.set_seq(entry.seq);
  v1::Port& port = attach ? *change.mutable_port_put() : *change.mutable_port_del();
  port.set_name(entry.port.name());
  port.set_number(entry.port.number());
  port.set_plugin(plugin_);
  *port.mutable_options() = entry.port.options();
  if (attach) {
    entry.offered = true;
    entry.reported = false;
  } else {
    entry.removal_batch = last_batch_ + 1;
  }
}

void Feed::Tell(const v1::Extension& extension) {
  if (running()) extensions_.push_back(extension);
}

Feed::Acked Feed::Ack(uint64_t batch) {
  if (batch > last_batch_) return Acked::unknown;
  if (batch <= acked_) return Acked::again;
  acked_ = batch;
  return Acked::done;
}

bool Feed::Queue(v1::PacketOut packet, uint64_t seq) {
  if (packets_.size() >= limits_.packets || packet_bytes_ >= limits_.packet_bytes) return false;
  packet_bytes_ += packet.data().size();
  packets_.push_back({seq, std::move(packet)});
  return true;
}

}  // namespace sluice::core
