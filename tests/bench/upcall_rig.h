// SPDX-License-Identifier: Apache-2.0
// A daemon between two wires, a generator at one, a counter at the other, and a controller on the bus.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "bench/benches.h"
#include "bench/datapath.h"
#include "sluice/endpoints.h"
#include "sluice/monitor.h"
#include "sluice/publisher.h"
#include "support/daemon.h"
#include "support/netns.h"
#include "support/veth.h"

namespace sluice::bench {

// Of one run; packets.
struct UpcallCounts {
  uint64_t sent = 0;
  uint64_t met = 0, limited = 0, failed = 0, handed = 0, ring_full = 0, taken = 0;
  uint64_t core = 0, events_dropped = 0, missed = 0, heard = 0, answered = 0, refused = 0;
  uint64_t out = 0, out_failed = 0, arrived = 0;
  double seconds = 0;
  uint64_t arrived_in_time = 0;  // before the generator ended

  bool operator==(const UpcallCounts&) const = default;
  [[nodiscard]] double ArrivedPerSecond() const { return static_cast<double>(arrived_in_time) / seconds; }
};

class UpcallRig {
 public:
  explicit UpcallRig(const UpcallOptions& options);
  ~UpcallRig();
  UpcallRig(const UpcallRig&) = delete;
  UpcallRig& operator=(const UpcallRig&) = delete;

  // Offers packets at the options' rate and waits until the chain is empty. With `latencies`: as many as the kernel
  // makes; flows are put meanwhile, one after the other, and how long each took is added, in us.
  UpcallCounts Run(std::vector<double>* latencies = nullptr);
  // Packets a second that an AF_XDP socket of its own takes, with nothing behind.
  double ReceiveAlone();

 private:
  class Controller;

  uint64_t Flood(const Baseline& generator, double* seconds) const;
  uint64_t Pace(unsigned ifindex, double* seconds) const;
  [[nodiscard]] UpcallCounts Read() const;
  UpcallCounts Settled(const UpcallCounts& before) const;
  void PutFlows(const std::atomic<bool>& stop, std::vector<double>& latencies);

  const UpcallOptions options_;
  test::Netns switch_, hosts_;
  test::Veth port1_, port2_, port3_;
  test::Daemon daemon_;
  Endpoints endpoints_;
  std::unique_ptr<Baseline> source_;  // sends to port1, counts what comes out of port2
  std::unique_ptr<Baseline> alone_;   // sends to port3
  std::unique_ptr<Controller> controller_;
  uint32_t next_flow_ = 0;
};

}  // namespace sluice::bench
