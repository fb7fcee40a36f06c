// SPDX-License-Identifier: Apache-2.0
#include "pcap_file.h"

#include <pcap/pcap.h>

#include <array>
#include <utility>

#include "console.h"

namespace sluice::ctl {
namespace {

// libpcap says it with or without the file's name.
Error Unreadable(const std::string& path, std::string why) {
  if (why.starts_with(path + ": ")) why.erase(0, path.size() + 2);
  return {kUsage, "--pcap " + path + ": " + why};
}

}  // namespace

void PcapFile::Close::operator()(pcap* file) const { pcap_close(file); }

Result<PcapFile> PcapFile::Open(const std::string& path) {
  std::array<char, PCAP_ERRBUF_SIZE> why{};
  pcap* file = pcap_open_offline(path.c_str(), why.data());
  if (file == nullptr) return Unreadable(path, why.data());
  PcapFile opened(path, file);
  const int type = pcap_datalink(file);
  if (type == DLT_EN10MB) return opened;
  const char* name = pcap_datalink_val_to_name(type);
  const char* description = pcap_datalink_val_to_description(type);
  std::string what = name != nullptr ? name : std::to_string(type);
  if (description != nullptr) what.append(" (").append(description).append(")");
  return Unreadable(path, "its packets are of link type " + what + "; only Ethernet frames can be traced");
}

Result<std::optional<PcapFile::Packet>> PcapFile::Next() {
  pcap_pkthdr* header = nullptr;
  const u_char* data = nullptr;
  const int got = pcap_next_ex(file_.get(), &header, &data);
  if (got == PCAP_ERROR_BREAK) return std::optional<Packet>();
  if (got != 1) {
    return Unreadable(path_, "packet " + std::to_string(read_ + 1) + " cannot be read: " + pcap_geterr(file_.get()));
  }
  ++read_;
  return std::optional(Packet{{data, data + header->caplen}, header->len});
}

}  // namespace sluice::ctl
