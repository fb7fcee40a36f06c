// SPDX-License-Identifier: Apache-2.0
// What the plugin does with what it hears on the bus. Everything happens on the session's thread.
#pragma once

#include <deque>
#include <functional>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "device.h"
#include "flow_store.h"
#include "groups.h"
#include "kept_state.h"
#include "neighbours.h"
#include "pass_packet.h"
#include "pass_tables.h"
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
    std::unique_ptr<PassMaps> pass_maps;
    PassTables::Settings passes;
    std::string object_path;
    PortSettings defaults;
    std::function<void(int level, const std::string& line)> log;  // any thread
  };
  explicit Handler(Parts parts);
  ~Handler() override;

  // Whom to ask to be called again. Before the first call.
  void SetWake(std::function<void()> wake) { wake_ = std::move(wake); }
  // Whom to tell that the next thing takes a while.
  void SetBusy(std::function<void(uint32_t ms)> busy) { busy_ = std::move(busy); }

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
  // Flows that are parked come first: the packet may be meant for them.
  void OnPacketOut(const v1::PacketOut& packet, v1::FromPlugin& reply);
  void SendPacket(const v1::PacketOut& packet, v1::FromPlugin& reply);
  Result<void> SendWithActions(Port& port, const v1::PacketOut& packet, const SeenPacket& seen, v1::FromPlugin& reply);
  Result<void> SendFromTunnel(const v1::PacketOut& packet, v1::FromPlugin& reply);
  Result<void> SendByTable(Port& port, const v1::PacketOut& packet, v1::FromPlugin& reply);
  void SendQueued();
  void PacketOutFailed(const std::string& sentence);
  // What had to wait for the kernel, as far as it can go on.
  void GoOn(v1::FromPlugin& out, bool anyhow = false);
  // A packet that its flow, or a flow that takes more packets than it should, sent to software.
  v1::Upcall& AddUpcall(const Port& port, uint32_t reason, const SeenPacket& packet, v1::FromPlugin& out);
  void OnPacket(Port& port, const sluice_upcall_meta& meta, const SeenPacket& packet, v1::FromPlugin& out);
  void OnSoftware(Port& port, const sluice_upcall_meta& meta, const SeenPacket& packet, v1::FromPlugin& out);
  // Whose record sent it up.
  [[nodiscard]] std::optional<FlowStore::Taker> SenderOf(Port& port, const sluice_upcall_meta& meta,
                                                         const SeenPacket& packet) const;
  // The flow that it has now.
  [[nodiscard]] std::optional<FlowStore::Taker> TakerOf(Port& port, const SeenPacket& packet,
                                                        const soft::Parsed& parsed) const;
  void CountFor(const FlowStore::Taker& taker, std::span<const uint8_t> packet, const soft::Parsed& parsed);
  void TellSome(v1::FromPlugin& out);
  void OnSynced(v1::FromPlugin& reply);

  Parts parts_;
  // In the order in which they may go: tables tell the store, and refer to the parts; ports have slots of the passes.
  FlowStore flows_;
  PassTables passes_;
  Ports ports_;
  FlowPlanner planner_;
  SoftPath soft_path_{ports_};
  Neighbours neighbours_;
  uint64_t steps_seen_ = 0;  // StepTable::taken()
  std::function<void()> wake_;
  std::function<void(uint32_t ms)> busy_;
  bool resync_ = false;                                 // flows have to be made anew
  std::map<int, std::pair<uint64_t, size_t>> sockets_;  // by fd: port's serial, place among its sockets
  struct WaitingPacket {
    uint64_t ticket;  // of the store
    v1::PacketOut packet;
  };
  std::deque<WaitingPacket> waiting_packets_;
  uint64_t packet_out_failures_ = 0;                                    // since the last that was logged
  std::string epoch_;                                                   // the core's
  std::shared_ptr<Handler*> alive_ = std::make_shared<Handler*>(this);  // for what the reclaimer calls back
  bool stopped_ = false;
};

}  // namespace sluice::xdp
