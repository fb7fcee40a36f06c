// SPDX-License-Identifier: Apache-2.0
// The packets of a pcap or pcapng file, by libpcap.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "sluice/error.h"

struct pcap;

namespace sluice::ctl {

class PcapFile {
 public:
  struct Packet {
    std::vector<uint8_t> bytes;  // as captured
    size_t length = 0;           // on the wire: more than there are bytes where the capture cut it
  };

  // "-": standard input. Errors: kUsage, naming the file: it cannot be read, is no pcap file, or its packets are not
  // Ethernet frames.
  static Result<PcapFile> Open(const std::string& path);

  // nullopt: there are no more. Errors: kUsage, the file breaks off or is damaged, naming the packet.
  Result<std::optional<Packet>> Next();

 private:
  struct Close {
    void operator()(pcap* file) const;
  };
  PcapFile(std::string path, pcap* file) : path_(std::move(path)), file_(file) {}

  std::string path_;
  std::unique_ptr<pcap, Close> file_;
  size_t read_ = 0;
};

}  // namespace sluice::ctl
