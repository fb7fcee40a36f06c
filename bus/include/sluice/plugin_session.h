// SPDX-License-Identifier: Apache-2.0
// The plugin's end of the plugin path, in C++: connects, says hello, takes batches, acknowledges them, beats, says bye.
//
// One thread owned by the session makes all calls to the Handler, one at a time; a Handler needs no locks against them.
// An exception that leaves a Handler ends the session with bye and the exception's text; it does not cross the library.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "sluice/plugin.h"
#include "sluice/sluice.pb.h"

namespace sluice {

class PluginSession {
 public:
  class Handler {
   public:
    virtual ~Handler() = default;
    // Changes in order. Verdicts go into `reply` (those not ready may follow later, from any other call); the session
    // adds the acknowledgement.
    virtual void OnBatch(const v1::ToPlugin& batch, v1::FromPlugin& reply) = 0;
    // About once a second: statistics, port counters.
    virtual void OnTick(v1::FromPlugin& /*out*/) {}
    // File descriptors to wait for beside the bus; asked again after every batch. OnReadable is called for each that
    // is.
    virtual std::vector<int> Fds() { return {}; }
    virtual void OnReadable(int /*fd*/, v1::FromPlugin& /*out*/) {}
    // Somebody called Wake().
    virtual void OnWake(v1::FromPlugin& /*out*/) {}
    // The core asked to stop: withdraw (unless keep) and put last statistics into `last`. The session then says bye.
    virtual void OnStop(bool /*keep*/, v1::FromPlugin& /*last*/) {}
    // The core is another one now (its epoch changed) or came back: forget verdicts given; the table follows from the
    // start, and what is not put again before `synced` is to be withdrawn.
    virtual void OnResync() {}
  };

  struct Settings {
    std::string name;
    std::string version;
    std::string endpoint;
    std::string token;
    void* zmq_context = nullptr;  // shared context for inproc endpoints; else the session makes its own
    v1::Capabilities capabilities;
  };

  // Starts the thread. `handler` must outlive the session.
  PluginSession(Settings settings, Handler& handler);
  // Stops without waiting for the core's stop message; joins.
  ~PluginSession();
  PluginSession(const PluginSession&) = delete;
  PluginSession& operator=(const PluginSession&) = delete;

  // Any thread.
  void Wake();

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

// Settings with name, endpoint, token and context as the host gave them.
PluginSession::Settings SessionSettings(const sluice_plugin_host& host);

}  // namespace sluice
