// SPDX-License-Identifier: Apache-2.0
// One field's value in text, by its Format.
#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "sluice/flow_text.h"
#include "text_scanner.h"

namespace sluice {

// ---- reading

// value[/mask] into `match`; vlan_tci is ScanVlan's. A mask of 0 leaves the field unset.
bool ScanField(TextScanner& in, const FieldInfo& info, const PortNames& ports, Match& match);
// What stands in vlan(...): vid=,pcp=,cfi= or tci=, up to ')'. CFI is matched as set unless cfi= says otherwise.
bool ScanVlan(TextScanner& in, Field field, Match& match);
// A port's name or number, up to white space, comma, slash or parenthesis.
bool ScanPort(TextScanner& in, const PortNames& ports, uint32_t* port);
// As ScanPort, of the token at `position` that was already read.
bool ResolvePort(TextScanner& in, size_t position, std::string_view token, const PortNames& ports, uint32_t* port);
// value[/mask] of at most `bits` bits; the mask is all ones where none is given.
bool ScanMasked(TextScanner& in, unsigned bits, std::string_view what, uint64_t* value, uint64_t* mask);
bool ScanMac(TextScanner& in, uint8_t* mac);
bool ScanIpv4(TextScanner& in, uint8_t* address);
bool ScanIpv6(TextScanner& in, uint8_t* address);
// A number of up to 128 bits, hexadecimal above 64, in network order.
bool ScanU128(TextScanner& in, uint8_t* value);

// ---- printing: each appends to `out`

void AppendField(std::string& out, const Match& match, const FieldInfo& info, const PortNames& ports);
void AppendDecimal(std::string& out, uint64_t value);
void AppendHex(std::string& out, uint64_t value, int width = 0);  // "0x5"; at least `width` digits
void AppendHexOrZero(std::string& out, uint64_t value);           // "0" or "0x5"
void AppendMac(std::string& out, const uint8_t* mac);
void AppendIpv4(std::string& out, const uint8_t* address);
void AppendIpv6(std::string& out, const uint8_t* address);  // as inet_ntop writes it
void AppendU128(std::string& out, const uint8_t* value);    // "0x" without leading zeros
void AppendPort(std::string& out, uint32_t port, const PortNames& ports);

// Bare words that are actions; a port so named is written as its number.
bool IsActionWord(std::string_view word);

}  // namespace sluice
