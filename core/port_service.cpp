// SPDX-License-Identifier: Apache-2.0
#include "port_service.h"

#include <utility>

namespace sluice::core {
namespace {

// What a plugin may report; nothing: as it was.
bool IsState(const std::string& state) {
  return state.empty() || state == "up" || state == "pending" || state == "failed" || state == "gone";
}

}  // namespace

Result<void> PortService::Configure(const std::string& name, const std::string& plugin,
                                    const std::map<std::string, std::string>& options) {
  auto entry = ports_.Add(name, plugin, options);
  if (!entry) return entry.error();
  (*entry)->port.set_detail("plugin " + plugin + " is not running");
  Tell(Topic::port_add, **entry);
  return {};
}

void PortService::Wait(std::map<std::string, Waiting>& waiting, const std::string& name, Done done,
                       std::function<void()> late) {
  waiting[name] = {std::move(done), timers_.After(deadline_ms_, std::move(late))};
}

void PortService::Answer(std::map<std::string, Waiting>& waiting, Timers& timers, const std::string& name,
                         const Result<v1::Port>& result) {
  auto node = waiting.extract(name);
  if (node.empty()) return;
  timers.Cancel(node.mapped().timer);
  node.mapped().done(result);
}

void PortService::Add(const std::string& name, const std::string& plugin,
                      const std::map<std::string, std::string>& options, bool plugin_runs, Done done) {
  if (!plugin_runs) {
    const std::string hint = "no plugin " + plugin + " runs: load it first (plugin load " + plugin + ")";
    return done(Error{"unknown_plugin", hint, 0, 0});
  }
  auto entry = ports_.Add(name, plugin, options);
  if (!entry) return done(entry.error());
  const std::string seconds = std::to_string(deadline_ms_ / 1000);
  Wait(adding_, name, std::move(done), [this, name, plugin, seconds] {
    const std::string detail =
        "plugin " + plugin + " did not say within " + seconds + " s that port " + name + " is up";
    FailAdd(name, Error{"timeout", detail, 0, 0});
  });
}

void PortService::FailAdd(const std::string& name, const Error& error) {
  if (PortEntry* entry = ports_.Find(name)) ports_.Remove(*entry);
  Answer(adding_, timers_, name, error);
}

void PortService::Remove(const std::string& name, Done done) {
  PortEntry* entry = ports_.Find(name);
  if (entry == nullptr) return done(Error{"no_such_port", "there is no port " + name, 0, 0});
  if (adding_.contains(name)) return done(Error{"busy", "port " + name + " is still being added", 0, 0});
  if (leaving_.contains(name)) return done(Error{"busy", "port " + name + " is still being removed", 0, 0});
  const v1::Port last = entry->port;
  const uint32_t number = last.number();
  leaving_[name] = last;
  const bool at_once = ports_.Remove(*entry);
  table_.Reoffer(number);
  Wait(removing_, name, std::move(done), [this, name] {
    const std::string detail = "port " + name + " is removed, but its plugin has not let go of the device yet";
    Answer(removing_, timers_, name, Error{"timeout", detail, 0, 0});
  });
  if (at_once) Removed({name});
}

void PortService::Removed(const std::vector<std::string>& names) {
  for (const std::string& name : names) {
    auto node = leaving_.extract(name);
    if (node.empty()) continue;  // never announced
    node.mapped().set_state("gone");
    if (v1::Event* event = events_.Add(Topic::port_del)) *event->mutable_port() = node.mapped();
    Answer(removing_, timers_, name, node.mapped());
  }
}

bool PortService::OnReport(const std::string& plugin, const v1::Port& report, bool holding) {
  PortEntry* entry = ports_.Find(report.name());
  if (entry == nullptr || entry->port.plugin() != plugin || !entry->offered || !IsState(report.state())) return false;
  v1::Port& port = entry->port;
  const std::string before = port.state();
  bool changed = false;
  if (!report.state().empty()) {
    changed = before != report.state() || port.detail() != report.detail();
    entry->reported = true;
    port.set_state(report.state());
    port.set_detail(report.detail());
  }
  if (report.info_size() != 0) {
    changed = true;
    *port.mutable_info() = report.info();
  }
  if (report.counters_size() != 0) *port.mutable_counters() = report.counters();

  if (adding_.contains(report.name())) {
    if (port.state() == "failed") {
      FailAdd(report.name(), Error{"port_failed", port.detail(), 0, 0});
      return true;
    }
    if (port.state() == "up") {
      Tell(Topic::port_add, *entry);
      if (!holding) table_.Reoffer(port.number());
      Answer(adding_, timers_, report.name(), port);
    }
    return true;
  }
  if (changed) {
    Tell(Topic::port_mod, *entry);
  } else if (report.counters_size() != 0) {
    Tell(Topic::port_stats, *entry);
  }
  if ((before == "up") != (port.state() == "up") && !holding) table_.Reoffer(port.number());
  return true;
}

void PortService::OnAck(const std::string& plugin, uint64_t batch) { Removed(ports_.Confirm(plugin, batch)); }

void PortService::OnPluginGone(const std::string& plugin) {
  Removed(ports_.Forget(plugin, "plugin " + plugin + " is not running"));
  const Error gone{"plugin_gone", "plugin " + plugin + " went before the port was up", 0, 0};
  for (PortEntry* entry : ports_.Of(plugin)) {
    const std::string name = entry->port.name();
    if (adding_.contains(name)) {
      FailAdd(name, gone);
    } else {
      Tell(Topic::port_mod, *entry);
    }
  }
}

void PortService::OnResync(const std::string& plugin) {
  Removed(ports_.Forget(plugin, "plugin " + plugin + " is told everything anew"));
}

void PortService::Tell(Topic topic, const PortEntry& entry) {
  if (v1::Event* event = events_.Add(topic)) *event->mutable_port() = entry.port;
}

}  // namespace sluice::core
