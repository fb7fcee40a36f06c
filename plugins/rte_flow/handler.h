// SPDX-License-Identifier: Apache-2.0
// What the plugin does with what it hears on the bus. Everything happens on the session's thread, but for the poll-mode
// loop.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "flow_store.h"
#include "loop/datapath.h"
#include "ports.h"
#include "sluice/plugin_session.h"

namespace sluice::rteflow {

class Handler : public PluginSession::Handler {
 public:
  struct Parts {
    std::unique_ptr<Datapath> datapath;
    PortSettings defaults;
    std::function<void(int level, const std::string& line)> log;  // any thread
  };
  explicit Handler(Parts parts);
  ~Handler() override;

  // Whom to ask to be called again, on any thread; whom to tell that the next thing takes a while. Before the first
  // call.
  void SetWake(std::function<void()> wake) { wake_ = std::move(wake); }
  void SetBusy(std::function<void(uint32_t ms)> busy) { busy_ = std::move(busy); }

  void OnBatch(const v1::ToPlugin& batch, v1::FromPlugin& reply) override;
  void OnTick(v1::FromPlugin& out) override;
  std::vector<int> Fds() override { return {parts_.datapath->upcall_fd()}; }
  void OnReadable(int fd, v1::FromPlugin& out) override;
  void OnWake(v1::FromPlugin& out) override;
  void OnStop(bool keep, v1::FromPlugin& last) override;
  void OnResync() override;

 private:
  void OnChange(const v1::Change& change, v1::FromPlugin& reply);
  void OnPacketOut(const v1::PacketOut& packet);
  void AddUpcall(DatapathUpcall upcall, v1::FromPlugin& out);
  void ReadSome(v1::FromPlugin& out);

  Parts parts_;
  Ports ports_;
  FlowStore flows_;
  std::function<void()> wake_;
  std::function<void(uint32_t ms)> busy_;
  bool reading_ = false;  // statistics, since the last tick
  bool stopped_ = false;
  uint64_t packet_out_failures_ = 0;  // since the last tick
};

}  // namespace sluice::rteflow
