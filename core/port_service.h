// SPDX-License-Identifier: Apache-2.0
// Ports come and go at a plugin's word: requests wait for it here, and what depends on a port is offered anew.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <vector>

#include "event_stream.h"
#include "flow_table.h"
#include "ports.h"
#include "timers.h"

namespace sluice::core {

class PortService {
 public:
  using Done = std::function<void(Result<v1::Port>)>;

  PortService(Ports& ports, FlowTable& table, EventStream& events, Timers& timers, uint64_t deadline_ms)
      : ports_(ports), table_(table), events_(events), timers_(timers), deadline_ms_(deadline_ms) {}

  // Of the configuration: stays whatever becomes of it.
  Result<void> Configure(const std::string& name, const std::string& plugin,
                         const std::map<std::string, std::string>& options);
  // `done` when the plugin said "up", or could not (and the port is no more). Errors: those of Ports::Add,
  // "port_failed", "timeout", "plugin_gone".
  void Add(const std::string& name, const std::string& plugin, const std::map<std::string, std::string>& options,
           bool plugin_runs, Done done);
  // `done` when the plugin let go of it. Errors: "no_such_port", "busy", "timeout".
  void Remove(const std::string& name, Done done);

  // What a plugin says of a port. `holding`: flows have not been offered to it yet, so none has to be again. False
  // where it is about no port that the plugin has been told of, or the state is none.
  bool OnReport(const std::string& plugin, const v1::Port& report, bool holding);
  void OnAck(const std::string& plugin, uint64_t batch);
  void OnPluginGone(const std::string& plugin);
  // The plugin is told everything anew.
  void OnResync(const std::string& plugin);

 private:
  struct Waiting {
    Done done;
    Timers::Id timer;
  };
  void Tell(Topic topic, const PortEntry& entry);
  void Removed(const std::vector<std::string>& names);
  static void Answer(std::map<std::string, Waiting>& waiting, Timers& timers, const std::string& name,
                     const Result<v1::Port>& result);
  void Wait(std::map<std::string, Waiting>& waiting, const std::string& name, Done done, std::function<void()> late);
  void FailAdd(const std::string& name, const Error& error);

  Ports& ports_;
  FlowTable& table_;
  EventStream& events_;
  Timers& timers_;
  uint64_t deadline_ms_;
  std::map<std::string, Waiting> adding_;
  std::map<std::string, Waiting> removing_;
  std::map<std::string, v1::Port> leaving_;  // announced and being removed
};

}  // namespace sluice::core
