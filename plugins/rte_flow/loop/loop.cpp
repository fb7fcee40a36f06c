// SPDX-License-Identifier: Apache-2.0
#include "loop.h"

#include <rte_cycles.h>
#include <rte_prefetch.h>

#include <algorithm>
#include <limits>
#include <memory>
#include <utility>
#include <variant>

#include "action_plan.h"
#include "single_writer.h"
#include "tcp_flags.h"

namespace sluice::rteflow {
namespace {

using Plan = DatapathFlow::Plan;

constexpr size_t kMostCommands = 256;  // a round: packets do not wait for more
constexpr uint32_t kPatience = 1000;   // empty rounds before a sleep
constexpr uint32_t kRoundsATime = 64;
constexpr size_t kMostUntold = 32768;  // packets that flows are not told of

uint32_t TcpFlagsOf(const soft::Parsed& packet) {
  const uint8_t* at = packet.key.data() + Info(Field::tcp_flags).offset;
  return uint32_t{at[0]} << 8 | at[1];
}

bool IsMarked(const rte_mbuf& packet) { return (packet.ol_flags & RTE_MBUF_F_RX_FDIR_ID) != 0; }

}  // namespace

Loop::Loop(const Datapath::Settings& settings, Buffers& buffers, CommandQueue& commands, UpcallQueue& upcalls,
           Shared& shared)
    : burst_(std::clamp(settings.burst, 1U, kMostBurst)),
      idle_us_(settings.idle_us),
      buffers_(buffers),
      commands_(commands),
      upcalls_(upcalls),
      shared_(shared),
      execution_(ports_, buffers, upcalls, clock_) {}

void Loop::Run(const std::atomic<bool>& stop) {
  DatapathLoad& load = shared_.load;
  uint32_t idle = 0;
  bool was_busy = false;
  uint64_t since = rte_rdtsc();
  for (uint32_t round = 0; !stop.load(std::memory_order_acquire); ++round) {
    const auto [packets, commands] = Round();
    const bool busy = packets + commands > 0;
    Add(load.rounds, 1);
    if (!busy) Add(load.empty_rounds, 1);
    idle = packets > 0 ? 0 : idle + 1;  // for commands it is woken
    const bool sleeps = idle > kPatience && idle_us_ > 0;
    // The counter costs as much as a packet or two: it is read where busy rounds begin and end, and now and then.
    if (busy != was_busy || sleeps || round % kRoundsATime == 0) {
      const uint64_t now = rte_rdtsc();
      if (was_busy) Add(load.busy_cycles, now - since);
      since = now;
      was_busy = busy && !sleeps;
    }
    if (sleeps) commands_.Sleep(idle_us_);
  }
}

Loop::Done Loop::Round() {
  clock_.NextRound();
  const size_t commands = commands_.Take(kMostCommands, [this](const Command& command) { std::visit(*this, command); });
  size_t packets = 0;
  for (const auto& port : ports_.all()) {
    for (uint16_t queue = 0; queue < port->settings().rx_queues; ++queue) packets += Poll(*port, queue);
  }
  FlushPorts();
  upcalls_.Signal();
  if (packets > 0) Add(shared_.load.packets, packets);
  untold_ += packets;
  if (packets == 0 || marks_.ManyUntold() || untold_ >= kMostUntold) TellFlows();
  TellDrained();
  return {packets, commands};
}

size_t Loop::Poll(LoopPort& port, uint16_t queue) {
  std::array<rte_mbuf*, kMostBurst> packets;  // NOLINT: only what was received is read
  std::array<MarkedFlow*, kMostBurst> flows;  // NOLINT
  const size_t received = port.Receive(queue, std::span(packets).first(burst_), passed_);
  if (received == 0) return 0;
  const size_t count = Recognise(port, std::span(packets).first(received), flows);
  size_t marked = 0;
  size_t stale = 0;
  for (size_t i = 0; i < count;) {
    switch (flows[i]->way.kind) {
      case MarkedFlow::Kind::kForward: {
        const auto rest = count - i;
        const size_t run = ForwardRun(port, std::span(packets).subspan(i, rest), std::span(flows).subspan(i, rest));
        marked += run;
        i += run;
        break;
      }
      case MarkedFlow::Kind::kOther:
        ++marked;
        ExecuteMarked(port, packets[i], *flows[i]);
        ++i;
        break;
      case MarkedFlow::Kind::kNone:
        if (flows[i] != &marks_.unmarked()) ++stale;
        Classify(port, packets[i++]);
        break;
    }
  }
  if (marked > 0) Add(port.counters().marked, marked);
  if (stale > 0) Add(port.counters().stale_mark, stale);
  return received;
}

size_t Loop::Recognise(LoopPort& port, std::span<rte_mbuf*> packets, std::span<MarkedFlow*> flows) {
  const MarkTable::View marks = marks_.view();
  uint64_t bytes = 0;
  size_t count = 0;
  for (size_t i = 0; i < packets.size(); ++i) {
    rte_mbuf* packet = packets[i];
    bytes += packet->pkt_len;
    if (!Buffers::IsStraight(*packet)) [[unlikely]] {
      packet = buffers_.Straighten(packet);
      if (packet == nullptr) {
        Add(port.counters().no_buffer, 1);
        continue;
      }
    }
    MarkedFlow* flow = &marks_.unmarked();
    if (IsMarked(*packet)) [[likely]] {
      flow = &marks.Find(packet->hash.fdir.hi);
      rte_prefetch0(flow);
      LoopPort::ForgetReceipt(*packet);
    } else {
      rte_prefetch0(rte_pktmbuf_mtod(packet, const void*));
    }
    packets[count] = packet;
    flows[count++] = flow;
  }
  Add(port.counters().rx_packets, packets.size());
  Add(port.counters().rx_bytes, bytes);
  return count;
}

size_t Loop::ForwardRun(LoopPort& port, std::span<rte_mbuf*> packets, std::span<MarkedFlow*> flows) {
  const MarkedFlow::Way way = flows.front()->way;
  uint64_t bytes = 0;
  size_t count = 0;
  do {
    const uint32_t length = packets[count]->pkt_len;
    marks_.Count(*flows[count], length);
    bytes += length;
    ++count;
  } while (count < packets.size() && flows[count]->way == way);
  for (size_t i = 0; way.tcp && i < count; ++i) {
    flows[i]->tcp_flags = static_cast<uint16_t>(flows[i]->tcp_flags | TcpFlags(BytesOf(*packets[i])));
  }
  execution_.Forward(packets.first(count), bytes, port, way.output);
  return count;
}

// The device's word is taken: what it has marked is not asked whether it is malformed.
void Loop::ExecuteMarked(LoopPort& port, rte_mbuf* packet, MarkedFlow& marked) {
  const soft::Parsed parsed = soft::Parse(BytesOf(*packet), port.number());
  marks_.Count(marked, packet->pkt_len);
  marked.tcp_flags = static_cast<uint16_t>(marked.tcp_flags | TcpFlagsOf(parsed));
  ExecuteFlow(port, packet, parsed.headers, *marked.flow);
}

void Loop::Classify(LoopPort& port, rte_mbuf* packet) {
  DatapathPortCounters& counters = port.counters();
  const soft::Parsed parsed = soft::Parse(BytesOf(*packet), port.number());
  if (parsed.malformed != soft::Malformed::kNo) {
    Add(counters.malformed, 1);
    return Miss(port, packet, "malformed");
  }
  DatapathFlow* flow = classifier_.Lookup(parsed);
  if (flow == nullptr) {
    Add(counters.miss, 1);
    return Miss(port, packet, "miss");
  }
  Add(counters.hit_software, 1);
  Add(flow->packets, 1);
  Add(flow->bytes, packet->pkt_len);
  flow->last_used.store(clock_.Now(), std::memory_order_relaxed);
  if (const uint32_t flags = TcpFlagsOf(parsed); flags != 0) Merge(flow->tcp_flags, flags);
  ExecuteFlow(port, packet, parsed.headers, *flow);
}

void Loop::ExecuteFlow(LoopPort& port, rte_mbuf* packet, const soft::Headers& headers, const DatapathFlow& flow) {
  switch (flow.plan.kind) {
    case Plan::Kind::kForward:
      LoopPort::ForgetReceipt(*packet);
      return execution_.Forward({&packet, 1}, packet->pkt_len, port, flow.plan.output);
    case Plan::Kind::kExecute:
      return execution_.Execute(flow.actions, headers, packet, port, &flow.ufid, flow.plan.once);
    case Plan::Kind::kDrop:
      Add(port.counters().dropped, 1);
      rte_pktmbuf_free(packet);
  }
}

void Loop::Miss(LoopPort& port, rte_mbuf* packet, const char* reason) {
  if (port.settings().miss == MissPolicy::kUpcall) {
    execution_.SendUp(port, reason, nullptr, BytesOf(*packet), packet->pkt_len);
  }
  rte_pktmbuf_free(packet);
}

void Loop::FlushPorts() {
  for (const auto& port : ports_.all()) port->Flush();
}

void Loop::TellFlows() {
  untold_ = 0;
  marks_.Tell(clock_.Now());
}

void Loop::TellDrained() {
  if (shared_.drained.load(std::memory_order_relaxed) == passed_) return;
  uint64_t drained = passed_;
  for (const auto& port : ports_.all()) drained = std::min(drained, port->drained());
  if (drained > shared_.drained.load(std::memory_order_relaxed)) {
    shared_.drained.store(drained, std::memory_order_release);
  }
}

void Loop::operator()(const command::AddPort& add) {
  if (LoopPort* port = ports_.Find(add.port.number); port != nullptr) {
    FlushPorts();
    port->Change(add.port);
  } else {
    ports_.Add(std::make_unique<LoopPort>(add.port, add.counters));
  }
}

void Loop::operator()(const command::RemovePort& remove) {
  const LoopPort* port = ports_.Find(remove.number);
  if (port == nullptr) return;
  FlushPorts();
  ports_.Remove(*port);
}

void Loop::operator()(const command::Insert& insert) {
  DatapathFlow& flow = *insert.flow;
  flow.plan = PlanOf(flow.match, flow.actions);
  classifier_.Insert(flow.match, flow.priority, flow);
  marks_.Insert(flow, clock_.Now());
}

void Loop::operator()(const command::Remove& remove) {
  const DatapathFlow& flow = *remove.flow;
  classifier_.Remove(flow.match, flow.priority, flow);
  marks_.Remove(flow, clock_.Now());
}

void Loop::operator()(const command::PacketOut& out) {
  const PacketOutRequest& request = *out.request;
  LoopPort* port = ports_.Find(request.port);
  if (port == nullptr) return;
  rte_mbuf* packet = request.frame.size() < RTE_ETHER_HDR_LEN ? nullptr : buffers_.Copy(request.frame);
  if (packet == nullptr) return Add(port->counters().packet_out_failed, 1);
  Add(port->counters().packet_out, 1);
  if (!request.actions) return Classify(*port, packet);
  const soft::Parsed parsed = soft::Parse(BytesOf(*packet), port->number());
  execution_.Execute(*request.actions, parsed.headers, packet, *port, nullptr, false);
}

void Loop::operator()(const command::Fence& fence) {
  FlushPorts();
  upcalls_.Signal();
  TellFlows();
  passed_ = fence.number;
  shared_.passed.store(passed_, std::memory_order_release);
  shared_.passed.notify_all();
}

}  // namespace sluice::rteflow
