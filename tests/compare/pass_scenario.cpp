// SPDX-License-Identifier: Apache-2.0
#include "compare/pass_scenario.h"

#include <algorithm>
#include <stdexcept>

#include "compare/tunnel_frames.h"
#include "compare/xdp_actions.h"
#include "reference/passes.h"
#include "sluice/flow_text.h"

namespace sluice::compare {
namespace {

using reference::Bytes;
using reference::Rng;
using reference::TunnelPort;

constexpr uint32_t kIds = 4;  // recirc_ids 1 to 4

Ufid UfidOf(uint64_t flow) {
  Ufid ufid;
  for (size_t i = 0; i < 8; ++i) ufid.bytes[15 - i] = static_cast<uint8_t>(flow >> (8 * i));
  return ufid;
}

std::string Text(uint64_t number) { return std::to_string(number); }

// tnl_push with all headers, over IPv4 or IPv6.
std::string PushText(Rng& rng, uint32_t port, const TunnelPort& tunnel, uint32_t out) {
  const bool v6 = rng.OneIn(3);
  const bool gre = tunnel.kind == TunnelPort::Kind::kGre;
  const bool vxlan = tunnel.kind == TunnelPort::Kind::kVxlan;
  const bool key = rng.OneIn(2);
  const bool sum = rng.OneIn(3);
  const size_t size = 14U + (v6 ? 40 : 20) + (gre ? 4U + (key ? 4 : 0) + (sum ? 4 : 0) : 16U);
  std::string text = "tnl_push(tnl_port(" + Text(port) + "),header(size=" + Text(size) + ",type=";
  text += gre ? v6 ? "109" : "3" : vxlan ? "4" : "5";
  text += ",eth(dst=02:00:00:00:01:09,src=02:00:00:00:01:08,dl_type=" + std::string(v6 ? "0x86dd" : "0x0800") + "),";
  const std::string proto = gre ? "47" : "17";
  text += v6 ? "ipv6(src=fdaa::8,dst=fdaa::9,label=0x12,proto=" + proto + ",tclass=0x4,hlimit=64),"
             : "ipv4(src=172.16.0.8,dst=172.16.0.9,proto=" + proto +
                   ",tos=0x4,ttl=64,frag=" + (rng.OneIn(2) ? "0x4000" : "0x0000") + "),";
  if (gre) {
    text += "gre((flags=" +
            std::string(key && sum ? "0xa000"
                        : key      ? "0x2000"
                        : sum      ? "0x8000"
                                   : "0x0000") +
            ",proto=0x6558)" + (sum ? ",csum=0x0" : "") + (key ? ",key=0x7b" : "") + ")";
  } else {
    text += "udp(src=" + std::string(rng.OneIn(3) ? "5000" : "0") + ",dst=" + Text(tunnel.udp_port) +
            ",csum=" + (sum ? "0xffff" : "0x0") + "),";
    text += vxlan ? "vxlan(flags=0x8000000,vni=0x7b)" : "geneve(vni=0x7b)";
  }
  return text + "),out_port(" + Text(out) + "))";
}

std::string SetTunnelText(Rng& rng, const TunnelPort& tunnel) {
  std::string text = "set(tunnel(tun_id=0x" + std::string(rng.OneIn(2) ? "7b" : "ffffff");
  text += ",src=172.16.3.1,dst=172.16.3." + Text(2 + rng.Below(2));
  if (rng.OneIn(2)) text += ",tos=0x4";
  if (rng.OneIn(2)) text += ",ttl=9";
  const bool gre = tunnel.kind == TunnelPort::Kind::kGre;
  if (!gre && rng.OneIn(4)) text += ",tp_src=5000";
  if (!gre && rng.OneIn(4)) text += ",tp_dst=4790";
  return text + (rng.OneIn(2) ? ",flags(" + std::string(!gre && rng.OneIn(2) ? "df|csum" : "df") + "|key)))" : "))");
}

std::string CtText(Rng& rng, bool zones) {
  std::string text;
  const auto add = [&](const std::string& part) { text += (text.empty() ? "" : ",") + part; };
  const bool commit = rng.OneIn(2);
  if (commit) add(rng.OneIn(6) ? "force_commit" : "commit");
  if (zones && rng.OneIn(2)) add("zone=5");
  if (commit && rng.OneIn(2)) add(rng.OneIn(2) ? "mark=0x3" : "mark=0x50/0xf0");
  return text.empty() ? "ct" : "ct(" + text + ")";
}

using Tunnel = std::pair<const uint32_t, TunnelPort>;
const Tunnel& AnyTunnel(Rng& rng) {
  static const auto kTunnels = TunnelPorts();
  auto tunnel = kTunnels.begin();
  std::advance(tunnel, static_cast<ptrdiff_t>(rng.Below(kTunnels.size())));
  return *tunnel;
}

// Whose packets look like this one.
const Tunnel* TunnelOf(const Match& key) {
  static const auto kTunnels = TunnelPorts();
  const auto found = std::ranges::find_if(kTunnels, [&](const Tunnel& tunnel) {
    const bool gre = key.ValueOf(Field::ipv4_proto) == 47 || key.ValueOf(Field::ipv6_proto) == 47;
    if (tunnel.second.kind == TunnelPort::Kind::kGre) return gre;
    return key.ValueOf(Field::udp_dst) == tunnel.second.udp_port;
  });
  return found == kTunnels.end() ? nullptr : &*found;
}

// How a list ends, for packets like the one with this key.
std::string EndText(Rng& rng, const Match& like, bool zones) {
  const Tunnel* tunnel = TunnelOf(like);
  if (tunnel != nullptr && !rng.OneIn(4)) return "tnl_pop(" + Text(tunnel->first) + ")";
  tunnel = &AnyTunnel(rng);
  std::string text;
  while (rng.OneIn(4)) text += (rng.OneIn(6) ? "ct_clear" : CtText(rng, zones)) + ",";
  switch (rng.Below(12)) {
    case 0:
      return text + "upcall";
    case 1:
      return text + Text(1 + rng.Below(4));
    case 2:
      return text + Text(1 + rng.Below(2)) + "," + Text(3 + rng.Below(2));
    case 3:
      return text + "flood";
    case 4:
      return text + SetTunnelText(rng, tunnel->second) + "," + Text(tunnel->first);
    case 5:
      return text + PushText(rng, tunnel->first, tunnel->second, 3 + static_cast<uint32_t>(rng.Below(2)));
    case 6:
      return text + (rng.OneIn(4) ? "tnl_pop(" + Text(tunnel->first) + ")" : Text(3));
    default:
      return text + "recirc(" + Text(1 + rng.Below(kIds)) + ")";
  }
}

Actions RandomList(Rng& rng, const Match& like, bool zones) {
  Actions actions;
  if (rng.OneIn(3)) {
    for (uint64_t n = 1 + rng.Below(3); n > 0; --n) actions.push_back(RandomEdit(rng, like, actions));
    Actions sent = actions;
    sent.emplace_back(Output{1});
    if (!XdpCanDo(sent)) actions.clear();
  }
  if (rng.OneIn(30)) return actions;
  const std::string text = EndText(rng, like, zones);
  const auto end = ParseActions(text);
  if (!end) throw std::logic_error(text + ": " + end.error().detail);
  actions.insert(actions.end(), end->begin(), end->end());
  return actions;
}

// What packets are made of: connections of a few, in both directions.
Bytes ConnectionFrame(Rng& rng) {
  static const std::vector<uint16_t> kFlags{0x02, 0x02, 0x12, 0x10, 0x18, 0x10, 0x11, 0x04, 0x14, 0x00, 0x03, 0x22};
  reference::PacketSpec spec;
  spec.dst = {2, 0, 0, 0, 0, 2};
  spec.src = {2, 0, 0, 0, 0, 1};
  const bool turned = rng.OneIn(2);
  const auto near = static_cast<uint8_t>(1 + rng.Below(2));
  if (rng.OneIn(3)) {
    reference::Ipv6Spec ip;
    ip.src = {0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, near};
    ip.dst = {0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9};
    if (turned) std::swap(ip.src, ip.dst);
    if (rng.OneIn(12)) ip.extensions.push_back({.type = 44, .fragment_offset = 9, .more_fragments = true});
    spec.l3 = ip;
  } else {
    reference::Ipv4Spec ip;
    ip.src = 0x0a000000U | near;
    ip.dst = 0x0a000009;
    if (turned) std::swap(ip.src, ip.dst);
    if (rng.OneIn(12)) ip.fragment_offset = 9;
    spec.l3 = ip;
  }
  uint16_t from = static_cast<uint16_t>(1000 + rng.Below(2));
  uint16_t to = 80;
  if (turned) std::swap(from, to);
  const bool v6 = std::holds_alternative<reference::Ipv6Spec>(spec.l3);
  switch (rng.Below(5)) {
    case 0:
    case 1:
      spec.l4 = reference::TcpSpec{from, to, rng.Pick(kFlags), 0};
      break;
    case 2:
    case 3:
      spec.l4 = reference::UdpSpec{from, to};
      break;
    default:
      spec.l4 = reference::IcmpSpec{static_cast<uint8_t>(turned ? (v6 ? 129 : 0) : (v6 ? 128 : 8)), 0};
      break;
  }
  return reference::Build(spec);
}

// An ICMP error about a packet of theirs: to its sender, from anybody.
Bytes ErrorFrame(Rng& rng) {
  const Bytes about = ConnectionFrame(rng);
  reference::PacketSpec spec;
  spec.dst = {2, 0, 0, 0, 0, 1};
  spec.src = {2, 0, 0, 0, 0, 7};
  const bool v6 = about[12] == 0x86;
  const size_t quoted = std::min<size_t>(about.size() - 14, rng.OneIn(6) ? rng.Below(60) : 60);
  if (v6) {
    reference::Ipv6Spec ip;
    ip.src = {0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 7};
    std::copy_n(about.begin() + 22, 16, ip.dst.begin());
    spec.l3 = ip;
    spec.l4 = reference::IcmpSpec{static_cast<uint8_t>(1 + rng.Below(3)), 0};
  } else {
    reference::Ipv4Spec ip;
    ip.src = 0x0a000007;
    ip.dst = static_cast<uint32_t>(about[26]) << 24 | static_cast<uint32_t>(about[27]) << 16 |
             static_cast<uint32_t>(about[28]) << 8 | about[29];
    if (rng.OneIn(10)) ip.dst ^= 1;
    spec.l3 = ip;
    static const std::vector<uint8_t> kErrors{3, 3, 4, 5, 11, 12, 13};
    spec.l4 = reference::IcmpSpec{rng.Pick(kErrors), 1};
  }
  spec.payload = static_cast<uint16_t>(quoted);
  Bytes frame = reference::Build(spec);
  std::copy_n(about.begin() + 14, quoted, frame.end() - static_cast<ptrdiff_t>(quoted));
  return frame;
}

Bytes RandomInner(Rng& rng) {
  switch (rng.Below(8)) {
    case 0:
      return RandomFrame(rng);
    case 1:
      return ErrorFrame(rng);
    case 2: {  // not even Ethernet
      Bytes frame = RandomFrame(rng);
      frame.resize(rng.Below(40));
      return frame;
    }
    default:
      return ConnectionFrame(rng);
  }
}

Bytes RandomOuter(Rng& rng) {
  return InTunnel(rng, AnyTunnel(rng).second, rng.OneIn(6) ? RandomOuter(rng) : RandomInner(rng));
}

// Makes a scenario, following what the reference makes of it: later passes' keys are known from packets that came
// there.
class Maker {
 public:
  Maker(Rng& rng, bool zones) : rng_(rng), zones_(zones) {}

  Scenario Make(size_t steps) {
    if (!rng_.OneIn(3)) Firewall();
    for (int i = 0; i < 6; ++i) Packet();
    while (scenario_.size() < steps) {
      switch (rng_.Below(8)) {
        case 0:
        case 1:
          if (flows_ < 72) Put();
          break;
        case 2:
          if (flows_ > 30) Delete();
          break;
        default:
          Packet();
      }
    }
    return std::move(scenario_);
  }

 private:
  void Packet() {
    Step step;
    step.port = static_cast<uint32_t>(1 + rng_.Below(2));
    if (!frames_.empty() && rng_.OneIn(2)) {
      step.frame = rng_.Pick(frames_);
    } else {
      step.frame = rng_.OneIn(2) ? RandomOuter(rng_) : rng_.OneIn(4) ? RandomFrame(rng_) : RandomInner(rng_);
      step.frame.resize(std::max<size_t>(step.frame.size(), 14));
      if (rng_.OneIn(20)) step.frame = reference::Damage(step.frame, rng_);
      step.frame.resize(std::max<size_t>(step.frame.size(), 14));
      if (frames_.size() < 24) frames_.push_back(step.frame);
    }
    const reference::Journey journey = passes_.Run(step.port, step.frame);
    for (const reference::Pass& pass : journey.passes) {
      if (pass.malformed != reference::Malformed::kNo) continue;
      // Where nothing takes a packet yet is where flows are wanted.
      (pass.flow ? taken_ : missed_).push_back(pass.key);
    }
    for (auto* keys : {&taken_, &missed_}) {
      if (keys->size() > 20) keys->erase(keys->begin(), keys->end() - 20);
    }
    scenario_.push_back(std::move(step));
  }

  Match SomeKey() {
    if (!missed_.empty() && (taken_.empty() || !rng_.OneIn(4))) return rng_.Pick(missed_);
    return taken_.empty() ? Match() : rng_.Pick(taken_);
  }

  void Put() {
    Step step;
    step.kind = Step::Kind::kPut;
    step.flow = ++flows_;
    const Match key = SomeKey();
    step.match = RandomMatch(rng_, key, SomeKey());
    // What no port's own table knows is said of a tunnel port, or of all packets with a recirc_id.
    const auto from_passes = [&](const FieldInfo& info) { return info.id < Field::in_port && step.match.Has(info.id); };
    step.match.Clear(Field::recirc_id);
    const bool tied = key.ValueOf(Field::recirc_id) == 0 && std::ranges::any_of(kFields, from_passes);
    if (tied || rng_.OneIn(2)) step.match.SetExact(Field::in_port, key.ValueOf(Field::in_port));
    const bool said = key.ValueOf(Field::recirc_id) != 0 || rng_.OneIn(2);  // not said: 0
    if (said) step.match.SetExact(Field::recirc_id, key.ValueOf(Field::recirc_id));
    step.actions = RandomList(rng_, key, zones_);
    step.priority = static_cast<uint32_t>((1 + rng_.Below(8)) * 1000 + step.flow);
    Put(std::move(step));
  }

  void Put(Step step) {
    reference_.Put({UfidOf(step.flow), step.match, step.actions, step.priority, {}});
    scenario_.push_back(std::move(step));
  }

  // What somebody would put: tunnels opened, what is in them and what is not through the connections of one zone. Below
  // all others.
  void Firewall() {
    const std::string zone = zones_ && rng_.OneIn(2) ? "zone=5" : "zone=0";
    const auto put = [&](const std::string& match, const std::string& actions) {
      Step step;
      step.kind = Step::Kind::kPut;
      step.flow = ++flows_;
      step.match = *ParseMatch(match);
      step.actions = *ParseActions(actions);
      step.priority = static_cast<uint32_t>(step.flow);
      Put(std::move(step));
    };
    put("recirc_id(0)", "ct(" + zone + "),recirc(1)");
    put("recirc_id(1),ct_state(+trk+new-inv)", "ct(commit," + zone + ",mark=0x7),recirc(2)");
    put("recirc_id(1),ct_state(+trk+est)", rng_.OneIn(2) ? "3" : "recirc(3)");
    put("recirc_id(1),ct_state(+trk+rel)", "4");
    for (const auto& [number, tunnel] : TunnelPorts()) {
      const bool gre = tunnel.kind == TunnelPort::Kind::kGre;
      const std::string l4 = gre ? "proto=47)" : "proto=17),udp(dst=" + Text(tunnel.udp_port) + ")";
      const std::string pop = "tnl_pop(" + Text(number) + ")";
      for (const uint32_t port : {1, 2}) {
        put("in_port(" + Text(port) + "),eth_type(0x0800),ipv4(" + l4, pop);
        put("in_port(" + Text(port) + "),eth_type(0x86dd),ipv6(" + l4, pop);
      }
    }
  }

  void Delete() {
    Step step;
    step.kind = Step::Kind::kDelete;
    step.flow = 1 + rng_.Below(flows_);
    reference_.Delete(UfidOf(step.flow));
    scenario_.push_back(std::move(step));
  }

  Rng& rng_;
  const bool zones_;
  reference::Datapath reference_{{1, 2, 3, 4}};
  reference::Passes passes_{reference_, TunnelPorts(), kTunnelMtu};
  std::vector<Bytes> frames_;
  std::vector<Match> missed_, taken_;  // keys
  uint64_t flows_ = 0;
  Scenario scenario_;
};

}  // namespace

std::map<uint32_t, TunnelPort> TunnelPorts() {
  using Kind = TunnelPort::Kind;
  using Checksum = TunnelPort::Checksum;
  return {{21, {Kind::kVxlan, 4789, Checksum::kVerify, 3}},
          {22, {Kind::kGeneve, 6081, Checksum::kRequire, 3}},
          {23, {Kind::kGre, 0, Checksum::kIgnore, 3}},
          {24, {Kind::kVxlan, 8472, Checksum::kIgnore, 3}}};
}

Scenario RandomPassScenario(Rng& rng, size_t steps, bool zones) { return Maker(rng, zones).Make(steps); }

}  // namespace sluice::compare
