// SPDX-License-Identifier: Apache-2.0
// The ports of this plugin: which device each has, and how the core is told of it.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>

#include "eth_device.h"
#include "interface/port_slots.h"
#include "loop/datapath.h"
#include "offload/flow_api.h"
#include "offload/offloader.h"
#include "port_settings.h"
#include "sluice/sluice.pb.h"
#include "tap/readback_tap.h"

namespace sluice::rteflow {

// A port whose device is there.
struct Port {
  std::string name;
  uint32_t number = 0;
  PortSettings settings;
  std::unique_ptr<EthDevice> device;
  std::unique_ptr<FlowApi> api;
  std::unique_ptr<Offloader> offloader;   // nullptr: nothing is asked of the device
  std::unique_ptr<TapReadback> readback;  // nullptr: the device is believed
  std::string driver;
  std::string interface;
};

struct PortSlot {
  uint32_t number = 0;
  std::map<std::string, std::string> options;
  std::string state;  // as in v1::Port
  std::string detail;
  std::unique_ptr<Port> port;
  bool stale = false;
  bool missing = false;  // its device is; it is tried for again
  // Of a port whose device is missing: looks until the next try, and between that and the one after.
  unsigned wait = 0;
  unsigned next_wait = 1;
  std::map<std::string, uint64_t> counters;  // as reported
  std::map<std::string, std::string> info;
};

// Session thread. Reports of a port's state go into the FromPlugin given.
class Ports : public PortSlots<PortSlot> {
 public:
  // `before`: before a device is closed, to take the rules out of it, and those of other devices that send to it. What
  // `removed` is called for is on one of DPDK's threads.
  struct Told {
    std::function<void()> opening;
    std::function<void(Port&)> before;
    std::function<void()> removed;
  };
  Ports(Datapath& datapath, PortSettings defaults, Told told)
      : datapath_(datapath), defaults_(std::move(defaults)), told_(std::move(told)) {}

  // True: numbers have another meaning now, flows put before are not to be trusted.
  bool Put(const v1::Port& port, v1::FromPlugin& out);
  void Delete(const std::string& name);
  // The device of `name` is of no more use: it is closed, and the port failed because of `why`.
  void Fail(const std::string& name, const std::string& why, v1::FromPlugin& out);
  void MarkStale();
  void DeleteStale();
  // Closes every device.
  void Clear();
  // Devices that are lost. Once a tick also: links that went or came, what was learnt, and missing devices are tried
  // for again, ever more rarely.
  void Look(v1::FromPlugin& out, bool tick);
  // Those whose counters, or what was learnt of their device, changed since the last call.
  void ReportCounters(v1::FromPlugin& out);

 private:
  using Slot = PortSlot;

  void Open(const std::string& name, Slot& slot);
  void TryAgain(const std::string& name, Slot& slot, v1::FromPlugin& out);
  void Close(Slot& slot);
  void Report(const std::string& name, Slot& slot, v1::FromPlugin& out) const;
  [[nodiscard]] std::map<std::string, std::string> InfoOf(const Port& port) const;
  [[nodiscard]] std::map<std::string, uint64_t> CountersOf(const Port& port) const;

  Datapath& datapath_;
  PortSettings defaults_;
  Told told_;
};

}  // namespace sluice::rteflow
