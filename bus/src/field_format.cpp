// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <array>
#include <charconv>

#include "field_text.h"

namespace sluice {
namespace {

constexpr uint64_t kCfi = 0x1000;

constexpr uint64_t LowBits(unsigned bits) { return bits >= 64 ? ~uint64_t{0} : (uint64_t{1} << bits) - 1; }

template <typename Append>
void AppendMasked(std::string& out, uint64_t value, uint64_t mask, bool exact, Append append) {
  append(out, value);
  if (exact) return;
  out += '/';
  AppendHex(out, mask);
}

void AppendFrag(std::string& out, uint64_t value, uint64_t mask, bool exact) {
  constexpr std::array<std::string_view, 3> kNames{"no", "first", "later"};
  if (exact && value < kNames.size()) {
    out += kNames[value];
    return;
  }
  AppendMasked(out, value, mask, exact, [](std::string& to, uint64_t v) { AppendHex(to, v); });
}

// All flags with names: "+syn-ack" where masked, "syn|ack" where exact; numbers where a bit has no name.
void AppendFlags(std::string& out, uint64_t value, uint64_t mask, bool exact, std::span<const FlagName> names) {
  uint64_t named = 0;
  for (const FlagName& flag : names) named |= flag.bit;
  const bool all_named = ((exact ? value : mask) & ~named) == 0;
  if (!all_named || (exact && value == 0)) {
    AppendMasked(out, value, mask, exact, AppendHexOrZero);
    return;
  }
  bool first = true;
  for (const FlagName& flag : names) {
    if (((exact ? value : mask) & flag.bit) == 0) continue;
    if (exact && !first) out += '|';
    if (!exact) out += (value & flag.bit) != 0 ? '+' : '-';
    out += flag.name;
    first = false;
  }
}

// As OVS: CFI is understood to be set; a mask that says nothing of CFI needs the whole tag.
void AppendVlan(std::string& out, uint64_t value, uint64_t mask) {
  if ((mask & kCfi) == 0) {
    out += "tci=";
    AppendMasked(out, value, mask, false, [](std::string& to, uint64_t v) { AppendHex(to, v); });
    return;
  }
  const uint64_t vid_mask = mask & 0xfff;
  const uint64_t pcp_mask = mask >> 13;
  if (vid_mask != 0) {
    out += "vid=";
    AppendMasked(out, value & 0xfff, vid_mask, vid_mask == 0xfff, AppendDecimal);
  }
  if (pcp_mask != 0) {
    out += vid_mask != 0 ? ",pcp=" : "pcp=";
    AppendMasked(out, value >> 13, pcp_mask, pcp_mask == 7, AppendDecimal);
  }
  const bool set = (value & kCfi) != 0;
  if (!set) out += vid_mask != 0 || pcp_mask != 0 ? ",cfi=0" : "cfi=0";
  if (set && vid_mask == 0 && pcp_mask == 0) out += "cfi=1";
}

void AppendNumber(std::string& out, const Match& match, const FieldInfo& info, const PortNames& ports) {
  const uint64_t value = match.ValueOf(info.id);
  const uint64_t mask = match.MaskOf(info.id);
  const bool exact = mask == LowBits(info.bits);
  switch (info.format) {
    case Format::hex:
      // OVS writes 64-bit numbers with 0x even where they are 0.
      return info.bits == 64
                 ? AppendMasked(out, value, mask, exact, [](std::string& to, uint64_t v) { AppendHex(to, v); })
                 : AppendMasked(out, value, mask, exact, AppendHexOrZero);
    case Format::eth_type:
      AppendHex(out, value, 4);
      if (!exact) {
        out += '/';
        AppendHex(out, mask, 4);
      }
      return;
    case Format::port:
      if (exact) return AppendPort(out, static_cast<uint32_t>(value), ports);
      return AppendMasked(out, value, mask, false, AppendDecimal);
    case Format::frag:
      return AppendFrag(out, value, mask, exact);
    case Format::vlan_tci:
      return AppendVlan(out, value, mask);
    case Format::tcp_flags:
      return AppendFlags(out, value, mask, exact, kTcpFlagNames);
    case Format::ct_state:
      return AppendFlags(out, value, mask, exact, kCtStateNames);
    case Format::tun_flags:
      return AppendFlags(out, value, mask, exact, kTunnelFlagNames);
    default:
      return AppendMasked(out, value, mask, exact, AppendDecimal);
  }
}

struct ZeroRun {
  size_t start = 0;
  size_t length = 0;
};

// The longest run of zero groups (RFC 5952, 4.2.3), the first of equals; of two groups at least.
ZeroRun LongestZeroRun(const std::array<uint16_t, 8>& groups) {
  ZeroRun best;
  ZeroRun run;
  for (size_t i = 0; i < groups.size(); ++i) {
    run = groups[i] == 0 ? ZeroRun{run.length == 0 ? i : run.start, run.length + 1} : ZeroRun{};
    if (run.length > best.length) best = run;
  }
  return best.length >= 2 ? best : ZeroRun{};
}

void AppendBareHex(std::string& out, uint64_t value, int width) {
  char digits[16];
  const auto end = std::to_chars(digits, digits + sizeof digits, value, 16).ptr;
  const auto length = static_cast<int>(end - digits);
  if (length < width) out.append(static_cast<size_t>(width - length), '0');
  out.append(digits, end);
}

}  // namespace

void AppendDecimal(std::string& out, uint64_t value) {
  char digits[20];
  out.append(digits, std::to_chars(digits, digits + sizeof digits, value).ptr);
}

void AppendHex(std::string& out, uint64_t value, int width) {
  out += "0x";
  AppendBareHex(out, value, width);
}

void AppendHexOrZero(std::string& out, uint64_t value) {
  if (value == 0) {
    out += '0';
  } else {
    AppendHex(out, value);
  }
}

void AppendMac(std::string& out, const uint8_t* mac) {
  constexpr char kDigits[] = "0123456789abcdef";
  char text[17];
  for (size_t i = 0; i < 6; ++i) {
    text[3 * i] = kDigits[mac[i] >> 4];
    text[3 * i + 1] = kDigits[mac[i] & 0xf];
    if (i < 5) text[3 * i + 2] = ':';
  }
  out.append(text, sizeof text);
}

void AppendIpv4(std::string& out, const uint8_t* address) {
  for (int i = 0; i < 4; ++i) {
    if (i > 0) out += '.';
    AppendDecimal(out, address[i]);
  }
}

void AppendIpv6(std::string& out, const uint8_t* address) {
  std::array<uint16_t, 8> groups;
  for (size_t i = 0; i < 8; ++i) groups[i] = static_cast<uint16_t>(address[2 * i] << 8 | address[2 * i + 1]);
  const ZeroRun zeros = LongestZeroRun(groups);
  for (size_t i = 0; i < 8; ++i) {
    if (zeros.length > 0 && i == zeros.start) {
      out += "::";
      i += zeros.length - 1;
      continue;
    }
    const bool after_zeros = zeros.length > 0 && i == zeros.start + zeros.length;
    if (i > 0 && !after_zeros) out += ':';
    // ::a.b.c.d and ::ffff:a.b.c.d are written with the IPv4 address.
    const bool maps_ipv4 = zeros.start == 0 && (zeros.length == 6 || (zeros.length == 5 && groups[5] == 0xffff));
    if (maps_ipv4 && i == 6) return AppendIpv4(out, address + 12);
    AppendBareHex(out, groups[i], 0);
  }
}

void AppendU128(std::string& out, const uint8_t* value) {
  size_t i = 0;
  while (i < 15 && value[i] == 0) ++i;
  out += "0x";
  AppendBareHex(out, value[i], 0);
  for (++i; i < 16; ++i) AppendBareHex(out, value[i], 2);
}

void AppendPort(std::string& out, uint32_t port, const PortNames& ports) {
  const std::optional<std::string> name = ports.Name(port);
  const bool plain = name && !name->empty() && !LooksLikeNumber(*name) && !IsActionWord(*name) &&
                     std::all_of(name->begin(), name->end(), [](char c) {
                       return static_cast<unsigned char>(c) > ' ' && c != 0x7f &&
                              std::string_view(",/()").find(c) == std::string_view::npos;
                     });
  if (plain) {
    out += *name;
  } else {
    AppendDecimal(out, port);
  }
}

void AppendField(std::string& out, const Match& match, const FieldInfo& info, const PortNames& ports) {
  void (*append)(std::string&, const uint8_t*) = nullptr;
  switch (info.format) {
    case Format::mac:
      append = AppendMac;
      break;
    case Format::ipv4:
      append = AppendIpv4;
      break;
    case Format::ipv6:
      append = AppendIpv6;
      break;
    case Format::bytes:
      append = AppendU128;
      break;
    default:
      return AppendNumber(out, match, info, ports);
  }
  append(out, match.Value(info.id).data());
  if (!match.IsExact(info.id)) {
    out += '/';
    append(out, match.Mask(info.id).data());
  }
}

}  // namespace sluice
