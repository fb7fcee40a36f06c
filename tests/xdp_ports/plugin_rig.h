// SPDX-License-Identifier: Apache-2.0
// The XDP plugin, loaded from its file, and a core's end of its bus that does what a test says.
#pragma once

#include <chrono>
#include <deque>
#include <functional>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <vector>
#include <zmq.hpp>

#include "sluice/flow_text.h"
#include "sluice/plugin.h"
#include "sluice/sluice.pb.h"
#include "support/netns.h"
#include "support/temp_dir.h"

namespace sluice::test {

using PortOptions = std::map<std::string, std::string>;

// What goes wrong in the rig itself throws std::runtime_error. The test's thread.
class PluginRig : public PortNames {
 public:
  // The plugin lives in `netns`. Its run directory is `run_dir`.
  PluginRig(const Netns& netns, const std::string& run_dir, const std::string& options = "{}");
  ~PluginRig() override;  // stops it if it runs
  PluginRig(const PluginRig&) = delete;
  PluginRig& operator=(const PluginRig&) = delete;

  // Starts it and waits for its hello; returns its sentence if it could not, else "".
  std::string Start();
  // Asks it to withdraw, or to keep; waits for its bye; stops it.
  void Stop(bool keep = false);

  v1::Port AddPort(const std::string& name, uint32_t number, const PortOptions& options = {});
  void DeletePort(const std::string& name);
  // Waits for a report of the port that satisfies.
  v1::Port WaitForPort(const std::string& name, const std::function<bool(const v1::Port&)>& satisfies);
  // The port's counters once `counter` is `least` or more; what they are after five seconds.
  std::map<std::string, uint64_t> WaitForCounter(const std::string& port, const std::string& counter, uint64_t least);
  v1::Port WaitForState(const std::string& name, const std::string& state);

  v1::Verdict Put(const std::string& match, const std::string& actions, uint32_t priority = 0, uint64_t instance = 1);
  // Waits for the confirmation.
  void Delete(const std::string& match, uint64_t instance = 1);
  void PacketOut(const std::string& port, const std::string& data, const std::optional<std::string>& actions = {});
  void Synced();
  void Resync(const std::string& epoch);
  // Another plugin, "recirc", brings `object` for later passes; `serial` 0: it is gone.
  void Extend(uint64_t serial, const std::string& object = SLUICE_BPF_DIR "/sluice_passes.bpf.o");
  // Waits until the plugin wants to be told everything anew; false if it does not in time. Once for each time it asks.
  bool AsksForResync(std::chrono::milliseconds timeout = std::chrono::seconds(5));
  // For the next start.
  void SetEpoch(const std::string& epoch) { epoch_ = epoch; }

  std::optional<v1::Upcall> NextUpcall(std::chrono::milliseconds timeout = std::chrono::seconds(5));
  // All statistics of the flow so far, added up, once it has counted `packets`; what there is after five seconds.
  v1::FlowStats WaitForStats(const std::string& match, uint64_t packets);

  [[nodiscard]] const v1::Hello& hello() const { return hello_; }
  [[nodiscard]] std::string log() const;

  [[nodiscard]] std::optional<uint32_t> Number(std::string_view name) const override;
  [[nodiscard]] std::optional<std::string> Name(uint32_t number) const override;

 private:
  using Clock = std::chrono::steady_clock;
  static void Log(void* self, int level, const char* line);

  Ufid UfidOf(const std::string& match) const;
  v1::ToPlugin NewBatch();
  void Send(const v1::ToPlugin& batch);
  // Takes in one message; false if none came in time.
  bool Take(std::chrono::milliseconds timeout);
  // Until `done`; throws, naming `what`, if that does not come to be.
  void Until(const std::string& what, const std::function<bool()>& done);

  const Netns& netns_;
  std::string run_dir_;
  std::string options_;
  TempDir dir_;
  std::string endpoint_;
  zmq::context_t context_;
  zmq::socket_t socket_;
  std::string identity_;
  void* library_ = nullptr;
  const sluice_plugin_descriptor* descriptor_ = nullptr;
  void* instance_ = nullptr;
  sluice_plugin_host host_{};

  mutable std::mutex mutex_;
  std::string log_;  // under mutex_

  std::string epoch_ = "e1";
  uint64_t batch_ = 0;
  uint64_t seq_ = 0;
  uint64_t acked_ = 0;
  bool bye_ = false;
  bool asks_for_resync_ = false;
  v1::Hello hello_;
  std::map<std::string, uint32_t> numbers_;
  std::deque<v1::Port> port_reports_;
  std::map<std::string, google::protobuf::Map<std::string, std::string>> info_;  // by port, the newest
  std::map<std::string, std::map<std::string, uint64_t>> counters_;              // by port, the newest
  std::deque<v1::Upcall> upcalls_;
  std::map<uint64_t, v1::Verdict> verdicts_;    // by seq
  std::map<std::string, v1::FlowStats> stats_;  // by ufid
};

}  // namespace sluice::test
