// SPDX-License-Identifier: Apache-2.0
// The plugin's end of the plugin path, in C++: connects, says hello, takes batches, acknowledges them, beats, says bye.
//
// One thread owned by the session makes all calls to the Handler, one at a time; a Handler needs no locks against them.
// An exception that leaves a Handler ends the session with bye and the exception's text; it does not cross the library.
//
// The thread blocks all signals. It beats every 250 ms between calls to the Handler: the core believes of a plugin
// whose call takes longer than 0.8 s that it hangs, and kills a process for it. Before a batch with ports, or with
// what other plugins bring, the session asks for 5 s; Busy() asks for more at other times. While the core does not take
// what the plugin says, nothing is taken in, batches and descriptors alike, so that what waits stays bounded.
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
    // adds the acknowledgement. In one message the core counts statistics before it reads verdicts, so that the last
    // statistics of a deleted flow may stand beside its verdict. Called without changes where batch.synced() is news.
    virtual void OnBatch(const v1::ToPlugin& batch, v1::FromPlugin& reply) = 0;
    // Every 600 ms: statistics, port counters.
    virtual void OnTick(v1::FromPlugin& /*out*/) {}
    // File descriptors to wait for beside the bus; asked again before every wait. OnReadable is called for each that
    // is readable or in error.
    virtual std::vector<int> Fds() { return {}; }
    virtual void OnReadable(int /*fd*/, v1::FromPlugin& /*out*/) {}
    // Somebody called Wake().
    virtual void OnWake(v1::FromPlugin& /*out*/) {}
    // The core asked to stop: withdraw (unless keep) and put last statistics into `last`. The session then says bye.
    // last.kept says that what is in the device goes on forwarding.
    // Who has more to say than fits into a message (kMaxPayload, wire.h) calls Wake(): OnWake comes before the bye.
    virtual void OnStop(bool /*keep*/, v1::FromPlugin& /*last*/) {}
    // The core is another one now (its epoch changed), or could not keep what this plugin has yet to be told
    // (ToPlugin.resync): forget verdicts given; the table follows from the start, and what is not put again before
    // `synced` is to be withdrawn. Called before the first batch of that. A Handler that sets FromPlugin.resync in
    // anything it says has this come, within about a second (bus/README.md).
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

  // Starts the thread. `handler` must outlive the session. Throws zmq::error_t or std::system_error (both are
  // std::exception) where there is no socket, descriptor or thread to be had, or the endpoint is none.
  PluginSession(Settings settings, Handler& handler);
  // Joins the thread. Where the core has not asked to stop: says bye without OnStop. Not from a Handler's call.
  ~PluginSession();
  PluginSession(const PluginSession&) = delete;
  PluginSession& operator=(const PluginSession&) = delete;

  // Any thread, any time in the session's life (a Handler may be called before the constructor has returned). Calls
  // before the thread came round to OnWake are one.
  void Wake();
  // From a Handler's call only: what follows may take as long. Until then, or until the session says something else,
  // the core does not take its silence for a failure.
  void Busy(uint32_t ms);

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

// Settings with name, endpoint, token and context as the host gave them.
PluginSession::Settings SessionSettings(const sluice_plugin_host& host);

}  // namespace sluice
