// SPDX-License-Identifier: Apache-2.0
#include <vector>

#include "field_text.h"
#include "tunnel_header.h"

namespace sluice {
namespace {

constexpr uint16_t kMaxHeader = 512;

bool IsGre(uint32_t type) { return type == kTunnelGre || type == kTunnelIp6Gre; }

bool Literal(TextScanner& in, std::string_view word) {
  in.SkipSpace();
  const size_t position = in.Position();
  const std::string_view found = in.Word();
  if (found == word) return true;
  return in.Fail(position,
                 "expected '" + std::string(word) + "', found " + (found.empty() ? "something else" : Quote(found)));
}

bool Open(TextScanner& in, std::string_view word) { return Literal(in, word) && in.Expect('('); }

template <typename T>
bool Number(TextScanner& in, std::string_view name, uint64_t max, T* to) {
  uint64_t value = 0;
  if (!Literal(in, name) || !in.Expect('=') || !in.Number(max, name, &value)) return false;
  *to = static_cast<T>(value);
  return true;
}

template <typename T>
bool NextNumber(TextScanner& in, std::string_view name, uint64_t max, T* to) {
  return in.Expect(',') && Number(in, name, max, to);
}

bool Address(TextScanner& in, std::string_view name, bool (*scan)(TextScanner&, uint8_t*), uint8_t* to) {
  return Literal(in, name) && in.Expect('=') && scan(in, to);
}

bool ScanEth(TextScanner& in, TunnelHeader& header) {
  if (!Open(in, "eth") || !Address(in, "dst", ScanMac, header.eth_dst.data()) || !in.Expect(',')) return false;
  if (!Address(in, "src", ScanMac, header.eth_src.data()) || !in.Expect(',')) return false;
  in.SkipSpace();
  const size_t position = in.Position();
  uint16_t type = 0;
  if (!Number(in, "dl_type", 0xffff, &type)) return false;
  if (type != 0x0800 && type != 0x86dd) return in.Fail(position, "dl_type must be 0x0800 or 0x86dd");
  header.ipv6 = type == 0x86dd;
  return in.Expect(')') && in.Expect(',');
}

bool ScanIp(TextScanner& in, uint32_t type, TunnelHeader& header) {
  auto* scan = header.ipv6 ? ScanIpv6 : ScanIpv4;
  if (!Open(in, header.ipv6 ? "ipv6" : "ipv4") || !Address(in, "src", scan, header.src.data()) || !in.Expect(',') ||
      !Address(in, "dst", scan, header.dst.data())) {
    return false;
  }
  if (header.ipv6 && !NextNumber(in, "label", 0xfffff, &header.label)) return false;
  if (!in.Expect(',')) return false;
  in.SkipSpace();
  const size_t position = in.Position();
  uint8_t proto = 0;
  if (!Number(in, "proto", 0xff, &proto)) return false;
  const uint8_t wanted = IsGre(type) ? 47 : 17;
  if (proto != wanted) {
    return in.Fail(position, "a tunnel of type " + std::to_string(type) + " has proto=" + std::to_string(wanted));
  }
  if (!NextNumber(in, header.ipv6 ? "tclass" : "tos", 0xff, &header.tos)) return false;
  if (!NextNumber(in, header.ipv6 ? "hlimit" : "ttl", 0xff, &header.ttl)) return false;
  if (!header.ipv6 && !NextNumber(in, "frag", 0xffff, &header.frag)) return false;
  return in.Expect(')') && in.Expect(',');
}

bool ScanUdp(TextScanner& in, TunnelHeader& header) {
  return Open(in, "udp") && Number(in, "src", 0xffff, &header.udp_src) &&
         NextNumber(in, "dst", 0xffff, &header.udp_dst) && NextNumber(in, "csum", 0xffff, &header.udp_csum) &&
         in.Expect(')') && in.Expect(',');
}

bool ScanVxlan(TextScanner& in, TunnelHeader& header) {
  return Open(in, "vxlan") && Number(in, "flags", 0xffffffff, &header.vxlan_flags) &&
         NextNumber(in, "vni", 0xffffff, &header.vni) && in.Expect(')');
}

bool ScanGeneve(TextScanner& in, TunnelHeader& header) {
  if (!Open(in, "geneve")) return false;
  for (;;) {
    in.SkipSpace();
    const size_t position = in.Position();
    const std::string_view word = in.Word();
    if (word == "oam" || word == "crit") {
      (word == "oam" ? header.oam : header.crit) = true;
      if (!in.Expect(',')) return false;
      continue;
    }
    if (word != "vni") return in.Fail(position, "expected oam, crit or vni= in geneve(...)");
    uint64_t vni = 0;
    if (!in.Expect('=') || !in.Number(0xffffff, "vni", &vni)) return false;
    header.vni = static_cast<uint32_t>(vni);
    in.SkipSpace();
    if (in.Peek() == ',') return in.Fail(in.Position(), "Geneve options are not supported");
    return in.Expect(')');
  }
}

bool ScanGre(TextScanner& in, TunnelHeader& header) {
  if (!Open(in, "gre") || !in.Expect('(')) return false;
  in.SkipSpace();
  const size_t position = in.Position();
  if (!Number(in, "flags", 0xffff, &header.gre_flags)) return false;
  if ((header.gre_flags & ~(kGreCsum | kGreKey | kGreSeq)) != 0) {
    return in.Fail(position, "GRE flags other than 0x8000 (csum), 0x2000 (key) and 0x1000 (seq) are not supported");
  }
  if (!NextNumber(in, "proto", 0xffff, &header.gre_proto) || !in.Expect(')')) return false;
  if ((header.gre_flags & kGreCsum) != 0 && !NextNumber(in, "csum", 0xffff, &header.gre_csum)) return false;
  if ((header.gre_flags & kGreKey) != 0 && !NextNumber(in, "key", 0xffffffff, &header.gre_key)) return false;
  if ((header.gre_flags & kGreSeq) != 0 && !NextNumber(in, "seq", 0xffffffff, &header.gre_seq)) return false;
  return in.Expect(')');
}

bool ScanTunnel(TextScanner& in, uint32_t type, TunnelHeader& header) {
  if (IsGre(type)) return ScanGre(in, header);
  return ScanUdp(in, header) && (type == kTunnelVxlan ? ScanVxlan(in, header) : ScanGeneve(in, header));
}

// raw=0x..: a header that has no other text.
bool ScanRaw(TextScanner& in, std::string& raw) {
  in.SkipSpace();
  const size_t position = in.Position();
  const std::string_view text = in.Token();
  bool good = text.size() >= 2 && text.size() % 2 == 0 && text.starts_with("0x") && text.size() / 2 - 1 <= kMaxHeader;
  TextScanner digits(good ? text.substr(2) : text);
  raw.clear();
  while (good && !digits.AtEnd()) {
    const size_t before = digits.Position();
    uint8_t byte = 0;
    good = digits.HexByte(&byte) && digits.Position() == before + 2;
    raw += static_cast<char>(byte);
  }
  return good || in.Fail(position, "expected the header's bytes as 0x and hexadecimal digits");
}

void AppendNumber(std::string& out, std::string_view name, uint64_t value) {
  out += name;
  AppendDecimal(out, value);
}

void AppendHexNumber(std::string& out, std::string_view name, uint64_t value) {
  out += name;
  AppendHex(out, value);
}

void AppendIp(std::string& out, const TunnelHeader& header, unsigned proto) {
  auto* append = header.ipv6 ? AppendIpv6 : AppendIpv4;
  out += header.ipv6 ? "ipv6(src=" : "ipv4(src=";
  append(out, header.src.data());
  out += ",dst=";
  append(out, header.dst.data());
  if (header.ipv6) AppendNumber(out, ",label=", header.label);
  AppendNumber(out, ",proto=", proto);
  if (header.ipv6) {
    AppendHexNumber(out, ",tclass=", header.tos);
    AppendNumber(out, ",hlimit=", header.ttl);
  } else {
    out += ",tos=";
    AppendHexOrZero(out, header.tos);
    AppendNumber(out, ",ttl=", header.ttl);
    AppendHexNumber(out, ",frag=", header.frag);
  }
  out += "),";
}

void AppendGre(std::string& out, const TunnelHeader& header) {
  AppendHexNumber(out, "gre((flags=", header.gre_flags);
  AppendHexNumber(out, ",proto=", header.gre_proto);
  out += ')';
  if ((header.gre_flags & kGreCsum) != 0) AppendHexNumber(out, ",csum=", header.gre_csum);
  if ((header.gre_flags & kGreKey) != 0) AppendHexNumber(out, ",key=", header.gre_key);
  if ((header.gre_flags & kGreSeq) != 0) AppendHexNumber(out, ",seq=", header.gre_seq);
  out += ')';
}

void AppendUdpTunnel(std::string& out, uint32_t type, const TunnelHeader& header) {
  AppendNumber(out, "udp(src=", header.udp_src);
  AppendNumber(out, ",dst=", header.udp_dst);
  AppendHexNumber(out, ",csum=", header.udp_csum);
  if (type == kTunnelVxlan) {
    AppendHexNumber(out, "),vxlan(flags=", header.vxlan_flags);
    AppendHexNumber(out, ",vni=", header.vni);
  } else {
    out += "),geneve(";
    if (header.oam) out += "oam,";
    if (header.crit) out += "crit,";
    AppendHexNumber(out, "vni=", header.vni);
  }
  out += ')';
}

}  // namespace

bool ScanTunnelHeader(TextScanner& in, TnlPush& push) {
  in.SkipSpace();
  const size_t position = in.Position();
  uint64_t size = 0;
  if (!Number(in, "size", kMaxHeader, &size) || !in.Expect(',')) return false;
  in.SkipSpace();
  const size_t type_position = in.Position();
  if (!Number(in, "type", 0xffffffff, &push.tnl_type) || !in.Expect(',')) return false;
  in.SkipSpace();
  if (in.Rest().starts_with("raw")) {
    if (!Literal(in, "raw") || !in.Expect('=') || !ScanRaw(in, push.header)) return false;
  } else {
    if (push.tnl_type != kTunnelVxlan && push.tnl_type != kTunnelGeneve && !IsGre(push.tnl_type)) {
      return in.Fail(type_position, "tunnel type must be 3 (gre), 4 (vxlan), 5 (geneve) or 109 (gre over IPv6)");
    }
    TunnelHeader header;
    if (!ScanEth(in, header)) return false;
    if (IsGre(push.tnl_type) && header.ipv6 != (push.tnl_type == kTunnelIp6Gre)) {
      return in.Fail(type_position, "gre over IPv4 has type=3, over IPv6 type=109");
    }
    if (!ScanIp(in, push.tnl_type, header) || !ScanTunnel(in, push.tnl_type, header)) return false;
    push.header = EncodeTunnel(push.tnl_type, header);
  }
  if (push.header.size() != size) {
    return in.Fail(position, "size=" + std::to_string(size) + ", but these headers have " +
                                 std::to_string(push.header.size()) + " bytes");
  }
  return true;
}

void AppendTunnelHeader(std::string& out, const TnlPush& push) {
  AppendNumber(out, "size=", push.header.size());
  AppendNumber(out, ",type=", push.tnl_type);
  const std::optional<TunnelHeader> header = DecodeTunnel(push.tnl_type, push.header);
  if (!header) {
    constexpr char kDigits[] = "0123456789abcdef";
    out += ",raw=0x";
    for (const char c : push.header) {
      out += kDigits[static_cast<unsigned char>(c) >> 4];
      out += kDigits[c & 0xf];
    }
    return;
  }
  out += ",eth(dst=";
  AppendMac(out, header->eth_dst.data());
  out += ",src=";
  AppendMac(out, header->eth_src.data());
  out += header->ipv6 ? ",dl_type=0x86dd)," : ",dl_type=0x0800),";
  AppendIp(out, *header, IsGre(push.tnl_type) ? 47 : 17);
  if (IsGre(push.tnl_type)) {
    AppendGre(out, *header);
  } else {
    AppendUdpTunnel(out, push.tnl_type, *header);
  }
}

}  // namespace sluice
