// SPDX-License-Identifier: Apache-2.0
#include "tunnel.h"

#include <arpa/inet.h>
#include <linux/if_ether.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <span>
#include <vector>

#include "action.h"
#include "interface/options.h"
#include "sluice/unique_fd.h"
#include "system.h"

namespace sluice::xdp {
namespace {

constexpr uint16_t kVxlanPort = 4789;   // RFC 7348
constexpr uint16_t kGenevePort = 6081;  // RFC 8926
constexpr uint8_t kTtl = 64;
constexpr uint16_t kBridged = 0x6558;                                 // transparent Ethernet bridging
constexpr uint32_t kOam = 1, kDontFragment = 2, kCsum = 4, kKey = 8;  // tun_flags

Error Unsupported(const std::string& what) { return {"unsupported_action", "XDP cannot do set(tunnel): " + what}; }

// What the kernel would send to `destination` from, out of the device. Asked for a device alone it takes what has no
// route for its neighbour.
template <typename Address>
Result<Address> SourceTowards(Address destination, uint32_t ifindex, const std::string& shown) {
  const int family = reinterpret_cast<const sockaddr&>(destination).sa_family;
  const UniqueFd any(socket(family, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  const UniqueFd fd(socket(family, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  const int device = static_cast<int>(ifindex);
  Address source{};
  socklen_t size = sizeof(source);
  if (!any || connect(any.get(), reinterpret_cast<sockaddr*>(&destination), sizeof(destination)) != 0 || !fd ||
      setsockopt(fd.get(), SOL_SOCKET, SO_BINDTOIFINDEX, &device, sizeof(device)) != 0 ||
      connect(fd.get(), reinterpret_cast<sockaddr*>(&destination), sizeof(destination)) != 0 ||
      getsockname(fd.get(), reinterpret_cast<sockaddr*>(&source), &size) != 0) {
    return Error{"no_route", "set(tunnel) names no src, and towards " + shown +
                                 " the underlay's device has none: " + std::strerror(errno)};
  }
  return source;
}

// Programs are told of routes and neighbours only where the kernel itself may forward, in by the device.
Result<void> CheckForwarding(uint32_t ifindex, bool ipv6) {
  char name[IF_NAMESIZE] = "";
  if (if_indextoname(ifindex, name) == nullptr) return {};  // it has just gone, which is told otherwise
  const std::string family = ipv6 ? "ipv6" : "ipv4";
  std::ifstream file("/proc/sys/net/" + family + "/conf/" + name + "/forwarding");
  int value = 1;
  file >> value;
  if (value != 0) return {};
  return Error{"no_forwarding",
               "set(tunnel) takes the far end's Ethernet address from the kernel, which tells it only "
               "where it may forward: sysctl -w net." +
                   family + ".conf." + name + ".forwarding=1"};
}

// Headers, put together from front to back.
class Writer {
 public:
  explicit Writer(sluice_step& step) : step_(step) {}
  void Byte(uint8_t value) { step_.header[step_.header_length++] = value; }
  void Short(uint16_t value) {
    Byte(static_cast<uint8_t>(value >> 8));
    Byte(static_cast<uint8_t>(value));
  }
  void Long(uint32_t value) {
    Short(static_cast<uint16_t>(value >> 16));
    Short(static_cast<uint16_t>(value));
  }
  void Bytes(std::span<const uint8_t> bytes) {
    std::copy(bytes.begin(), bytes.end(), step_.header + step_.header_length);
    step_.header_length += static_cast<uint32_t>(bytes.size());
  }
  void Zeros(size_t count) { step_.header_length += static_cast<uint32_t>(count); }

 private:
  sluice_step& step_;
};

// What set(tunnel()) says, with what it leaves out filled in.
struct Outer {
  bool ipv6 = false;
  std::vector<uint8_t> src, dst;
  uint8_t tos = 0, ttl = kTtl;
  uint32_t flags = 0;
  uint32_t id = 0;
  bool has_id = false;
  uint16_t tp_src = 0, tp_dst = 0;
};

std::vector<uint8_t> BytesOf(const Match& set, Field field) {
  const auto bytes = set.Value(field);
  return {bytes.begin(), bytes.end()};
}

Result<std::vector<uint8_t>> FindSource(const Outer& outer, uint32_t ifindex) {
  char shown[INET6_ADDRSTRLEN] = "";
  inet_ntop(outer.ipv6 ? AF_INET6 : AF_INET, outer.dst.data(), shown, sizeof(shown));
  if (outer.ipv6) {
    sockaddr_in6 to{};
    to.sin6_family = AF_INET6;
    to.sin6_port = htons(outer.tp_dst);
    std::memcpy(&to.sin6_addr, outer.dst.data(), outer.dst.size());
    const auto from = SourceTowards(to, ifindex, shown);
    if (!from) return from.error();
    const auto* bytes = reinterpret_cast<const uint8_t*>(&from->sin6_addr);
    return std::vector<uint8_t>(bytes, bytes + sizeof(from->sin6_addr));
  }
  sockaddr_in to{};
  to.sin_family = AF_INET;
  to.sin_port = htons(outer.tp_dst);
  std::memcpy(&to.sin_addr, outer.dst.data(), outer.dst.size());
  const auto from = SourceTowards(to, ifindex, shown);
  if (!from) return from.error();
  const auto* bytes = reinterpret_cast<const uint8_t*>(&from->sin_addr);
  return std::vector<uint8_t>(bytes, bytes + sizeof(from->sin_addr));
}

Result<Outer> OuterOf(const TunnelPort& port, const Match& set) {
  for (const FieldInfo& field : kFields) {
    if (set.Has(field.id) && !set.IsExact(field.id) && field.id != Field::tun_flags) {
      return Unsupported(std::string(field.sub) + " has a mask; it takes whole values");
    }
  }
  Outer outer;
  outer.ipv6 = set.Has(Field::tun_ipv6_dst);
  const Field dst = outer.ipv6 ? Field::tun_ipv6_dst : Field::tun_dst;
  const Field src = outer.ipv6 ? Field::tun_ipv6_src : Field::tun_src;
  if (!set.Has(dst)) return Unsupported("it has no dst");
  if (set.Has(outer.ipv6 ? Field::tun_dst : Field::tun_ipv6_src) ||
      set.Has(outer.ipv6 ? Field::tun_src : Field::tun_ipv6_dst)) {
    return Unsupported("it has addresses of IPv4 and of IPv6");
  }
  outer.dst = BytesOf(set, dst);
  if (set.Has(Field::tun_tos)) outer.tos = static_cast<uint8_t>(set.ValueOf(Field::tun_tos));
  if (set.Has(Field::tun_ttl)) outer.ttl = static_cast<uint8_t>(set.ValueOf(Field::tun_ttl));
  outer.flags = static_cast<uint32_t>(set.ValueOf(Field::tun_flags));
  outer.tp_src = static_cast<uint16_t>(set.ValueOf(Field::tun_tp_src));
  outer.tp_dst =
      set.Has(Field::tun_tp_dst) ? static_cast<uint16_t>(set.ValueOf(Field::tun_tp_dst)) : port.settings.dst_port;
  const uint64_t id = set.ValueOf(Field::tun_id);
  const uint64_t most = port.settings.type == SLUICE_TUNNEL_GRE ? UINT32_MAX : 0xffffff;
  if (id > most) {
    return Unsupported("tun_id " + std::to_string(id) + " is more than " + port.settings.TypeName() + " has, " +
                       std::to_string(most));
  }
  outer.id = static_cast<uint32_t>(id);
  outer.has_id = set.Has(Field::tun_id) || (outer.flags & kKey) != 0;
  if ((outer.flags & kOam) != 0 && port.settings.type != SLUICE_TUNNEL_GENEVE) {
    return Unsupported("the flag oam is Geneve's alone");
  }
  if (set.Has(src)) {
    outer.src = BytesOf(set, src);
  } else {
    auto found = FindSource(outer, port.ifindex);
    if (!found) return found.error();
    outer.src = *std::move(found);
  }
  return outer;
}

void WriteIp(Writer& out, const Outer& outer, uint8_t protocol) {
  if (outer.ipv6) {
    out.Long(0x60000000U | static_cast<uint32_t>(outer.tos) << 20);
    out.Short(0);
    out.Byte(protocol);
    out.Byte(outer.ttl);
  } else {
    out.Byte(0x45);
    out.Byte(outer.tos);
    out.Long(0);  // length, id
    out.Short((outer.flags & kDontFragment) != 0 ? 0x4000 : 0);
    out.Byte(outer.ttl);
    out.Byte(protocol);
    out.Short(0);
  }
  out.Bytes(outer.src);
  out.Bytes(outer.dst);
}

void WriteUdp(Writer& out, const Outer& outer) {
  out.Short(outer.tp_src);
  out.Short(outer.tp_dst);
  out.Long(0);  // length, checksum
}

}  // namespace

Result<TunnelSettings> TunnelSettings::Parse(const std::map<std::string, std::string>& options) {
  Options from(options);
  TunnelSettings settings;
  const auto type = from.Choice("tunnel", {"vxlan", "geneve", "gre"}, "vxlan");
  if (!type) return type.error();
  if (*type == "geneve") settings.type = SLUICE_TUNNEL_GENEVE;
  if (*type == "gre") settings.type = SLUICE_TUNNEL_GRE;
  if (settings.type != SLUICE_TUNNEL_GRE) {
    const auto port =
        from.Number("dst_port", settings.type == SLUICE_TUNNEL_VXLAN ? kVxlanPort : kGenevePort, 1, 65535);
    if (!port) return port.error();
    settings.dst_port = static_cast<uint16_t>(*port);
  }
  const auto csum = from.Choice("csum", {"ignore", "verify", "require"}, "verify");
  if (!csum) return csum.error();
  if (*csum == "verify") settings.csum = SLUICE_STEP_CSUM_VERIFY;
  if (*csum == "require") settings.csum = SLUICE_STEP_CSUM_VERIFY | SLUICE_STEP_CSUM_REQUIRE;
  settings.underlay = from.Text("underlay", "");
  const auto icmp = from.Choice("mtu_icmp", {"no", "yes"}, "no");
  if (!icmp) return icmp.error();
  settings.mtu_icmp = *icmp == "yes";
  const auto known = from.CheckUnknown();
  if (!known) return known.error();
  return settings;
}

const char* TunnelSettings::TypeName() const {
  switch (type) {
    case SLUICE_TUNNEL_GRE:
      return "gre";
    case SLUICE_TUNNEL_GENEVE:
      return "geneve";
    default:
      return "vxlan";
  }
}

const char* TunnelSettings::CsumName() const {
  if ((csum & SLUICE_STEP_CSUM_REQUIRE) != 0) return "require";
  return csum != 0 ? "verify" : "ignore";
}

sluice_step PopStep(const TunnelPort& port) {
  sluice_step step{};
  step.flags = port.settings.csum;
  step.terminal = SLUICE_ACTION_RECIRC;
  step.tp_dst = port.settings.dst_port;
  step.tunnel_type = port.settings.type;
  step.tunnel_port = port.number;
  return step;
}

Result<sluice_step> PushStep(const TunnelPort& port, const Match& set) {
  const auto outer = OuterOf(port, set);
  if (!outer) return outer.error();
  if (auto may = CheckForwarding(port.ifindex, outer->ipv6); !may) return may.error();
  sluice_step step{};
  step.flags = SLUICE_STEP_FIB;
  if (port.settings.mtu_icmp) step.flags |= SLUICE_STEP_MTU_ICMP;
  step.terminal = SLUICE_ACTION_OUTPUT;
  step.terminal_arg = port.underlay;
  step.tunnel_type = port.settings.type;
  step.tunnel_port = port.number;
  step.ifindex = port.ifindex;
  step.mtu = port.mtu;
  Writer out(step);
  out.Zeros(ETH_ALEN * 2);  // the program's
  out.Short(outer->ipv6 ? ETH_P_IPV6 : ETH_P_IP);
  const bool gre = port.settings.type == SLUICE_TUNNEL_GRE;
  WriteIp(out, *outer, gre ? IPPROTO_GRE : IPPROTO_UDP);
  if (gre) {
    const bool csum = (outer->flags & kCsum) != 0;
    out.Short(static_cast<uint16_t>((csum ? 0x8000 : 0) | (outer->has_id ? 0x2000 : 0)));
    out.Short(kBridged);
    if (csum) out.Long(0);  // the program's
    if (outer->has_id) out.Long(outer->id);
    return step;
  }
  if (outer->ipv6 || (outer->flags & kCsum) != 0) step.flags |= SLUICE_STEP_CSUM;
  WriteUdp(out, *outer);
  if (port.settings.type == SLUICE_TUNNEL_VXLAN) {
    out.Long(0x08000000);
  } else {
    out.Byte(0);
    out.Byte((outer->flags & kOam) != 0 ? 0x80 : 0);
    out.Short(kBridged);
  }
  out.Long(outer->id << 8);
  return step;
}

Result<sluice_step> PushStep(const TunnelPort* port, const TnlPush& push, uint32_t mtu) {
  constexpr uint32_t kGreOverIpv6 = 109;
  constexpr size_t kUdpCsum = 6;
  const size_t size = push.header.size();
  const auto* bytes = reinterpret_cast<const uint8_t*>(push.header.data());
  if (size > SLUICE_TUNNEL_HEADER || size < ETH_HLEN + sizeof(in_addr) * 5) {
    return Error{"unsupported_action", "XDP cannot do tnl_push: its headers have " + std::to_string(size) +
                                           " bytes, and not at most " + std::to_string(SLUICE_TUNNEL_HEADER)};
  }
  sluice_step step{};
  const bool ipv6 = (bytes[ETH_ALEN * 2] << 8 | bytes[ETH_ALEN * 2 + 1]) == ETH_P_IPV6;
  step.tunnel_type = push.tnl_type == kGreOverIpv6 ? static_cast<uint32_t>(SLUICE_TUNNEL_GRE) : push.tnl_type;
  const size_t udp = ETH_HLEN + (ipv6 ? 40U : (bytes[ETH_HLEN] & 15U) * 4U);
  const bool has_csum = step.tunnel_type != SLUICE_TUNNEL_GRE && udp + kUdpCsum + 2 <= size &&
                        (bytes[udp + kUdpCsum] | bytes[udp + kUdpCsum + 1]) != 0;
  if (has_csum || (ipv6 && step.tunnel_type != SLUICE_TUNNEL_GRE)) step.flags |= SLUICE_STEP_CSUM;
  if (port != nullptr && port->settings.mtu_icmp) step.flags |= SLUICE_STEP_MTU_ICMP;
  step.terminal = SLUICE_ACTION_OUTPUT;
  step.terminal_arg = push.out_port;
  step.tunnel_port = push.tnl_port;
  step.mtu = mtu;
  step.header_length = static_cast<uint32_t>(size);
  std::copy_n(bytes, size, step.header);
  if (has_csum) step.header[udp + kUdpCsum] = step.header[udp + kUdpCsum + 1] = 0;  // the program's
  return step;
}

}  // namespace sluice::xdp
