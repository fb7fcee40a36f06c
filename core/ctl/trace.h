// SPDX-License-Identifier: Apache-2.0
// Which flow a packet would hit, and what would happen to it: what a datapath does, done here on one frame, with the
// library that the plugins have for it (plugins/soft). Knows no daemon: a table and a frame in, steps out. One thread.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "sluice/action.h"
#include "sluice/sluice.pb.h"
#include "soft/packet.h"
#include "trace_table.h"

namespace sluice::ctl {

// What ct(...) finds: no connection is looked up here.
struct TraceTracking {
  // Bits of ct_state, for one ct after the other; the last holds on. None: there is no connection.
  std::vector<uint32_t> states;
  uint32_t mark = 0;  // of the connection
};

// The port that packets come in by, and what there is beside it.
struct TracePlace {
  const v1::Port& port;
  const google::protobuf::RepeatedPtrField<v1::Port>& ports;  // all there are
  const PortNames& names;
  std::string miss;  // what becomes of packets without a flow: "pass", "drop", "upcall"; empty: nobody says
  TraceTracking tracking = {};
};

// A packet as a lookup gets it.
struct PassPacket {
  std::vector<uint8_t> frame;
  Match beside;  // in_port and what passes before have left: recirc_id, tun_*, ct_*; each exact
};

struct TraceOutput {
  uint32_t port = 0;
  std::string tunnel;  // the tunnel port that it was sent to, where that has sent it on to `port`; empty: none
  std::vector<uint8_t> frame;
  std::string warning;  // why it may not leave all the same; empty: none
};

struct TraceUpcall {
  std::vector<uint8_t> frame;  // what the controller gets
  size_t length = 0;           // of the packet
};

// One action.
struct TraceStep {
  std::string action;          // odp text
  std::string now, before;     // the fields that it changed, as they are after it and as they were: odp text
  std::vector<uint8_t> frame;  // after it
  std::vector<TraceOutput> outputs;
  std::optional<TraceUpcall> upcall;
  bool expired = false;  // dec_ttl: the steps that follow are those of its own list
  std::string note;      // what there is to say beside that
};

enum class TraceEnd : uint8_t {
  kMalformed,    // matches no flow
  kMiss,         // there is no flow
  kDone,         // the actions are done, and it was sent
  kDropped,      // they are done, and it was not
  kUntraceable,  // comes to an action that is not executed here
  kTunnel,       // dropped by tnl_pop or for the MTU
  kTooDeep,      // would have begun more passes than a packet may
};

// Passes that a packet may begin after its first, and ways from one program to another: SLUICE_PASS_DEPTH and
// SLUICE_PASS_HOPS of bpf/pass.h.
inline constexpr size_t kMostPasses = 8;
inline constexpr size_t kMostHops = 32;

// From one lookup to the end of its flow's actions.
struct TracePass {
  std::string packet;            // what a flow is looked up for: odp text
  std::vector<uint8_t> frame;    // as the lookup sees it
  std::optional<v1::Flow> flow;  // the one found
  std::string mask;              // its fields, each with its mask where that is not whole
  v1::Offload offload;           // where that is
  std::vector<v1::Flow> equals;  // others of its priority: the datapath takes any of them
  std::vector<v1::Flow> absent;  // not in the datapath, else they would have come first or could have
  std::vector<TraceStep> steps;
};

struct Trace {
  std::vector<TracePass> passes;
  soft::Malformed malformed = soft::Malformed::kNo;  // in the last pass
  TraceEnd end = TraceEnd::kDone;
  std::string why;         // a sentence
  TraceTracking tracking;  // what is left of it
  size_t hops = 0;         // ways from one program to another
};

// From the packet's first pass on, or from a later one where `packet.beside` has its fields.
Trace TracePacket(const TraceTable& table, const TracePlace& place, PassPacket packet);

// What `plugin` says of the flow; nullptr: nothing.
const v1::Offload* OffloadIn(const v1::Flow& flow, const std::string& plugin);
// A port's miss policy: as its plugin tells it, else by the port's or the plugin's options; empty: nobody says.
std::string MissPolicy(const v1::Port& port, const google::protobuf::RepeatedPtrField<v1::Plugin>& plugins);
// "Ethernet", "IPv4", ...: the header that is cut short or contradicts itself.
const char* HeaderName(soft::Malformed malformed);

}  // namespace sluice::ctl
