// SPDX-License-Identifier: Apache-2.0
// What the plugin does with what it hears on the bus. Everything happens on the session's thread.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "device.h"
#include "flow_store.h"
#include "groups.h"
#include "kept_state.h"
#include "ports.h"
#include "reclaimer.h"
#include "sluice/plugin_session.h"
#include "soft_path.h"

namespace sluice::xdp {

class Handler : public PluginSession::Handler {
 public:
  struct Parts {
    std::unique_ptr<Reclaimer> reclaimer;
    std::unique_ptr<Groups> groups;
    std::unique_ptr<KeptState> kept;
    std::unique_ptr<LinkMonitor> links;
    std::string object_path;
    KeyLayout layout;
    PortSettings defaults;
    std::function<void(int level, const std::string& line)> log;  // any thread
  };
  explicit Handler(Parts parts);
  ~Handler() override;

  // Whom to ask to be called again. Before the first call.
  void SetWake(std::function<void()> wake) { wake_ = std::move(wake); }

  void OnBatch(const v1::ToPlugin& batch, v1::FromPlugin& reply) override;
  void OnTick(v1::FromPlugin& out) override;
  std::vector<int> Fds() override;
  void OnReadable(int fd, v1::FromPlugin& out) override;
  void OnWake(v1::FromPlugin& out) override;
  void OnStop(bool keep, v1::FromPlugin& last) override;
  void OnResync() override;

 private:
  void OnChange(const v1::Change& change, v1::FromPlugin& reply);
  void OnLinks(v1::FromPlugin& out);
  void OnPackets(Port& port, XskSocket& socket, v1::FromPlugin& out);
  Result<void> SendPacket(const v1::PacketOut& packet, v1::FromPlugin& reply);
  void SendQueued();
  void PacketOutFailed(const std::string& sentence);
  void TellSome(v1::FromPlugin& out);
  void OnSynced(v1::FromPlugin& reply);

  Parts parts_;
  // In the order in which they may go: tables tell the store, and refer to the parts.
  FlowStore flows_;
  Ports ports_;
  SoftPath soft_path_{ports_};
  std::function<void()> wake_;
  std::map<int, std::pair<uint64_t, size_t>> sockets_;                  // by fd: port's serial, place among its sockets
  uint64_t packet_out_failures_ = 0;                                    // since the last that was logged
  std::string epoch_;                                                   // the core's
  std::shared_ptr<Handler*> alive_ = std::make_shared<Handler*>(this);  // for what the reclaimer calls back
  bool stopped_ = false;
};

}  // namespace sluice::xdp
