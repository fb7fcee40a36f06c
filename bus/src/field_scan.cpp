// SPDX-License-Identifier: Apache-2.0
#include <arpa/inet.h>

#include <algorithm>
#include <array>
#include <cstring>

#include "field_text.h"

namespace sluice {
namespace {

constexpr uint64_t kCfi = 0x1000;

constexpr uint64_t LowBits(unsigned bits) { return bits >= 64 ? ~uint64_t{0} : (uint64_t{1} << bits) - 1; }

// A mask of `length` leading ones.
void PrefixMask(uint64_t length, std::span<uint8_t> mask) {
  for (size_t i = 0; i < mask.size(); ++i) {
    const uint64_t ones = std::min<uint64_t>(length > 8 * i ? length - 8 * i : 0, 8);
    mask[i] = static_cast<uint8_t>(0xff00u >> ones);
  }
}

// After an address's slash: a prefix length rather than a dotted or colonned mask.
bool PrefixLengthComes(const TextScanner& in) {
  const std::string_view rest = in.Rest();
  const size_t digits = std::min(rest.find_first_not_of("0123456789"), rest.size());
  return digits > 0 &&
         (digits == rest.size() || std::string_view(".:abcdefABCDEF").find(rest[digits]) == std::string_view::npos);
}

template <size_t kSize>
bool ScanAddress(TextScanner& in, Field field, bool (*scan)(TextScanner&, uint8_t*), bool prefix, Match& match) {
  std::array<uint8_t, kSize> value;
  std::array<uint8_t, kSize> mask;
  if (!scan(in, value.data())) return false;
  mask.fill(0xff);
  if (in.Accept('/')) {
    in.SkipSpace();
    if (prefix && PrefixLengthComes(in)) {
      uint64_t length = 0;
      if (!in.Number(8 * kSize, "prefix length", &length)) return false;
      PrefixMask(length, mask);
    } else if (!scan(in, mask.data())) {
      return false;
    }
  }
  match.Set(field, value, mask);
  return true;
}

bool ScanNumber(TextScanner& in, const FieldInfo& info, Match& match) {
  uint64_t value = 0;
  uint64_t mask = 0;
  if (!ScanMasked(in, info.bits, info.sub.empty() ? info.group : info.sub, &value, &mask)) return false;
  match.SetMasked(info.id, value, mask);
  return true;
}

bool ScanInPort(TextScanner& in, const FieldInfo& info, const PortNames& ports, Match& match) {
  in.SkipSpace();
  const size_t position = in.Position();
  const std::string_view token = in.Token();
  if (in.Accept('/')) {
    // Parts of a port number: nothing that a name could stand for.
    uint64_t value = 0;
    uint64_t mask = 0;
    TextScanner number(token);
    if (!number.Number(LowBits(info.bits), "port", &value) || !number.AtEnd()) {
      return in.Fail(position, "a port with a mask must be a number, not " + Quote(token));
    }
    if (!in.Number(LowBits(info.bits), "mask", &mask)) return false;
    match.SetMasked(info.id, value, mask);
    return true;
  }
  uint32_t port = 0;
  if (!ResolvePort(in, position, token, ports, &port)) return false;
  match.SetExact(info.id, port);
  return true;
}

bool ScanFrag(TextScanner& in, const FieldInfo& info, Match& match) {
  constexpr std::array<std::string_view, 3> kNames{"no", "first", "later"};
  in.SkipSpace();
  const char c = in.Peek();
  if (c >= '0' && c <= '9') return ScanNumber(in, info, match);
  const size_t position = in.Position();
  const std::string_view word = in.Word();
  const auto found = std::find(kNames.begin(), kNames.end(), word);
  if (found == kNames.end()) {
    return in.Fail(position, "expected no, first or later as frag, found " + Quote(word));
  }
  uint64_t mask = LowBits(info.bits);
  if (in.Accept('/') && !in.Number(mask, "mask", &mask)) return false;
  match.SetMasked(info.id, static_cast<uint64_t>(found - kNames.begin()), mask);
  return true;
}

bool FindFlag(TextScanner& in, std::span<const FlagName> names, std::string_view what, uint64_t* bit) {
  const size_t position = in.Position();
  const bool bracket = in.Peek() == '[';
  std::string_view word = bracket ? in.Until("])") : std::string_view();
  if (bracket) {
    if (!in.Expect(']')) return false;
    word = {word.data(), word.size() + 1};
  } else {
    word = in.Until("+-|),/ \t\r\n");
  }
  for (const FlagName& flag : names) {
    if (flag.name == word) {
      *bit = flag.bit;
      return true;
    }
  }
  std::vector<std::string_view> known;
  known.reserve(names.size());
  for (const FlagName& flag : names) known.push_back(flag.name);
  return in.Fail(position, word.empty()
                               ? "expected a flag of " + std::string(what)
                               : "unknown flag " + Quote(word) + " of " + std::string(what) + DidYouMean(word, known));
}

// "0x12", "0x2/0x12", "+syn-ack" (masked) or "syn|ack" (exact).
bool ScanFlags(TextScanner& in, const FieldInfo& info, std::span<const FlagName> names, Match& match) {
  const std::string_view what = info.sub.empty() ? info.group : info.sub;
  in.SkipSpace();
  const char first = in.Peek();
  if (first >= '0' && first <= '9') return ScanNumber(in, info, match);
  uint64_t value = 0;
  uint64_t mask = 0;
  uint64_t bit = 0;
  if (first == '+' || first == '-') {
    for (char sign = first; sign == '+' || sign == '-'; sign = in.Peek()) {
      const size_t position = in.Position();
      in.Accept(sign);
      if (!FindFlag(in, names, what, &bit)) return false;
      if ((mask & bit) != 0) return in.Fail(position, "the same flag of " + std::string(what) + " twice");
      mask |= bit;
      if (sign == '+') value |= bit;
    }
  } else {
    mask = LowBits(info.bits);
    do {
      if (!FindFlag(in, names, what, &bit)) return false;
      value |= bit;
    } while (in.Accept('|'));
  }
  match.SetMasked(info.id, value, mask);
  return true;
}

bool ScanBytes(TextScanner& in, const FieldInfo& info, Match& match) {
  std::array<uint8_t, 16> value;
  std::array<uint8_t, 16> mask;
  mask.fill(0xff);
  if (!ScanU128(in, value.data())) return false;
  if (in.Accept('/') && !ScanU128(in, mask.data())) return false;
  match.Set(info.id, value, mask);
  return true;
}

// One of vid, pcp, cfi, tci: bits of the tag that it sets.
struct VlanPart {
  std::string_view name;
  unsigned bits;
  unsigned shift;
};
constexpr std::array<VlanPart, 4> kVlanParts{{{"vid", 12, 0}, {"cfi", 1, 12}, {"pcp", 3, 13}, {"tci", 16, 0}}};

}  // namespace

bool ScanMasked(TextScanner& in, unsigned bits, std::string_view what, uint64_t* value, uint64_t* mask) {
  if (!in.Number(LowBits(bits), what, value)) return false;
  *mask = LowBits(bits);
  return !in.Accept('/') || in.Number(*mask, "mask", mask);
}

bool ScanMac(TextScanner& in, uint8_t* mac) {
  in.SkipSpace();
  const size_t position = in.Position();
  for (int i = 0; i < 6; ++i) {
    if ((i > 0 && !in.Accept(':')) || !in.HexByte(mac + i)) {
      return in.Fail(position, "expected an Ethernet address such as 00:11:22:33:44:55");
    }
  }
  return true;
}

bool ScanIpv4(TextScanner& in, uint8_t* address) {
  in.SkipSpace();
  const size_t position = in.Position();
  const std::string_view text = in.Token();
  size_t at = 0;
  for (int i = 0; i < 4; ++i) {
    unsigned octet = 0;
    size_t digits = 0;
    for (; at < text.size() && text[at] >= '0' && text[at] <= '9' && digits < 3; ++at, ++digits) {
      octet = octet * 10 + static_cast<unsigned>(text[at] - '0');
    }
    const bool dot = i < 3 ? at < text.size() && text[at] == '.' : at == text.size();
    if (digits == 0 || octet > 255 || !dot) {
      return in.Fail(position, "expected an IPv4 address such as 10.0.0.1, found " + Quote(text));
    }
    address[i] = static_cast<uint8_t>(octet);
    ++at;
  }
  return true;
}

bool ScanIpv6(TextScanner& in, uint8_t* address) {
  in.SkipSpace();
  const size_t position = in.Position();
  const std::string_view text = in.Token();
  char terminated[INET6_ADDRSTRLEN + 1];
  if (text.size() < sizeof terminated) {
    std::memcpy(terminated, text.data(), text.size());
    terminated[text.size()] = '\0';
    if (std::strlen(terminated) == text.size() && inet_pton(AF_INET6, terminated, address) == 1) return true;
  }
  return in.Fail(position, "expected an IPv6 address such as fe80::1, found " + Quote(text));
}

bool ScanU128(TextScanner& in, uint8_t* value) {
  in.SkipSpace();
  const size_t position = in.Position();
  std::string_view rest = in.Rest();
  if (rest.size() < 3 || rest[0] != '0' || (rest[1] | 0x20) != 'x') {
    uint64_t number = 0;
    if (!in.Number(~uint64_t{0}, "", &number)) return false;
    std::memset(value, 0, 16);
    for (size_t i = 16; number != 0; number >>= 8) value[--i] = static_cast<uint8_t>(number);
    return true;
  }
  std::string_view digits = in.Token().substr(2);
  if (digits.empty()) return in.Fail(position, "expected a hexadecimal number, found " + Quote(rest.substr(0, 2)));
  digits.remove_prefix(std::min(digits.find_first_not_of('0'), digits.size() - 1));
  if (digits.find_first_not_of("0123456789abcdefABCDEF") != std::string_view::npos) {
    return in.Fail(position, "expected a hexadecimal number, found " + Quote(rest.substr(0, digits.size() + 2)));
  }
  if (digits.size() > 32) return in.Fail(position, "number is too large: at most 128 bits");
  std::memset(value, 0, 16);
  for (size_t i = 0; i < digits.size(); ++i) {
    const char c = digits[digits.size() - 1 - i];
    const int nibble = c <= '9' ? c - '0' : (c | 0x20) - 'a' + 10;
    value[15 - i / 2] |= static_cast<uint8_t>(nibble << (i % 2 * 4));
  }
  return true;
}

bool ResolvePort(TextScanner& in, size_t position, std::string_view token, const PortNames& ports, uint32_t* port) {
  if (token.empty()) return in.FailExpected("a port's name or number");
  if (!LooksLikeNumber(token)) {
    const std::optional<uint32_t> number = ports.Number(token);
    if (!number) return in.Fail(position, "unknown_port", "unknown port " + Quote(token));
    *port = *number;
    return true;
  }
  uint64_t number = 0;
  TextScanner scanner(token);
  if (!scanner.Number(~uint32_t{0}, "port", &number)) return in.Fail(position, scanner.TakeError("").detail);
  *port = static_cast<uint32_t>(number);
  if (!ports.AcceptsUnknownNumbers() && !ports.Name(*port)) {
    return in.Fail(position, "unknown_port", "unknown port " + Quote(token));
  }
  return true;
}

bool ScanPort(TextScanner& in, const PortNames& ports, uint32_t* port) {
  in.SkipSpace();
  const size_t position = in.Position();
  const std::string_view token = in.Token();
  return ResolvePort(in, position, token, ports, port);
}

bool ScanVlan(TextScanner& in, Field field, Match& match) {
  uint64_t tci = kCfi;
  uint64_t mask = kCfi;
  unsigned seen = 0;
  in.SkipSpace();
  while (in.Peek() != ')') {
    in.SkipSpace();
    const size_t position = in.Position();
    const std::string_view name = in.Word();
    size_t part = 0;
    while (part < kVlanParts.size() && kVlanParts[part].name != name) ++part;
    if (part == kVlanParts.size()) return in.Fail(position, "expected vid=, pcp=, cfi= or tci= in vlan(...)");
    const bool whole = kVlanParts[part].name == "tci";
    if ((seen & 1u << part) != 0 || (whole && seen != 0) || (seen & 8u) != 0) {
      return in.Fail(position, Quote(name) + " sets bits of the tag that are already given");
    }
    seen |= 1u << part;
    uint64_t value = 0;
    uint64_t part_mask = 0;
    if (!in.Expect('=') || !ScanMasked(in, kVlanParts[part].bits, name, &value, &part_mask)) return false;
    const uint64_t bits = LowBits(kVlanParts[part].bits) << kVlanParts[part].shift;
    tci = (tci & ~bits) | value << kVlanParts[part].shift;
    mask = (mask & ~bits) | part_mask << kVlanParts[part].shift;
    if (!in.Accept(',')) break;
    in.SkipSpace();
    if (in.Peek() == ')') return in.FailExpected("vid=, pcp=, cfi= or tci=");
  }
  match.SetMasked(field, tci, mask);
  return true;
}

bool ScanField(TextScanner& in, const FieldInfo& info, const PortNames& ports, Match& match) {
  switch (info.format) {
    case Format::decimal:
    case Format::hex:
    case Format::eth_type:
      return ScanNumber(in, info, match);
    case Format::mac:
      return ScanAddress<6>(in, info.id, ScanMac, false, match);
    case Format::ipv4:
      return ScanAddress<4>(in, info.id, ScanIpv4, true, match);
    case Format::ipv6:
      return ScanAddress<16>(in, info.id, ScanIpv6, true, match);
    case Format::port:
      return ScanInPort(in, info, ports, match);
    case Format::frag:
      return ScanFrag(in, info, match);
    case Format::vlan_tci:
      return ScanVlan(in, info.id, match);
    case Format::tcp_flags:
      return ScanFlags(in, info, kTcpFlagNames, match);
    case Format::ct_state:
      return ScanFlags(in, info, kCtStateNames, match);
    case Format::tun_flags:
      return ScanFlags(in, info, kTunnelFlagNames, match);
    case Format::bytes:
      return ScanBytes(in, info, match);
  }
  return false;
}

}  // namespace sluice
