// SPDX-License-Identifier: Apache-2.0
#include "info_print.h"

#include <map>

#include "table.h"

namespace sluice::ctl {
namespace {

// "a=1 b=2", by name.
template <typename Map>
std::string Pairs(const Map& map) {
  std::string text;
  for (const auto& [key, value] : std::map<std::string, std::string>(map.begin(), map.end())) {
    if (!text.empty()) text += ' ';
    text.append(key).append("=").append(value);
  }
  return text;
}

std::string Join(const google::protobuf::RepeatedPtrField<std::string>& words) {
  std::string text;
  for (const std::string& word : words) text += (text.empty() ? "" : ",") + word;
  return text.empty() ? "-" : text;
}

std::string Told(const v1::Port& port, const char* key) {
  const auto told = port.info().find(key);
  return told == port.info().end() ? "" : told->second;
}

// Why it is not up, and what it warns of.
std::string Note(const v1::Port& port) {
  const std::string warning = Told(port, "warning");
  if (port.detail().empty() || warning.empty()) return port.detail() + warning;
  return port.detail() + "; " + warning;
}

std::string AbsenceText(const v1::Absence& absence) {
  const std::string ms = std::to_string(absence.ms()) + " ms";
  std::string text = absence.cause() + " in " + ms;
  if (!absence.detail().empty()) text += " (" + absence.detail() + ")";
  return text + (absence.kept() ? ", and the device went on forwarding" : ", a gap: the device did not forward");
}

template <typename Map>
std::string CounterTable(const Map& counters, size_t indent) {
  std::vector<std::vector<std::string>> rows;
  for (const auto& [key, value] : std::map<std::string, uint64_t>(counters.begin(), counters.end())) {
    rows.push_back({key, std::to_string(value)});
  }
  return Table(rows, indent);
}

std::string RatesText(const v1::Status& status) {
  std::string text;
  for (const auto& [name, rate] : std::map<std::string, uint64_t>(status.rates().begin(), status.rates().end())) {
    text.append(text.empty() ? "" : ", ").append(name).append(" ").append(std::to_string(rate));
  }
  return text.empty() ? "-" : text;
}

std::string MonitorsText(const v1::Status& status) {
  const auto connected = status.connections().find("events");
  const uint64_t count = connected == status.connections().end() ? 0 : connected->second;
  std::string text = std::to_string(count) + " connected";
  for (const std::string& prefix : status.subscriptions()) {
    text.append(&prefix == &*status.subscriptions().begin() ? ", subscribed to " : ", ");
    text.append(prefix.empty() ? "all" : prefix);
  }
  return text;
}

std::string QueueTable(const v1::Status& status, size_t indent) {
  std::vector<std::vector<std::string>> rows = {{"NAME", "DEPTH", "LIMIT"}};
  for (const v1::Queue& queue : status.queues()) {
    rows.push_back({queue.name(), queue.has_depth() ? std::to_string(queue.depth()) : "-",
                    queue.limit() != 0 ? std::to_string(queue.limit()) : "-"});
  }
  return Table(rows, indent);
}

}  // namespace

std::string DurationText(uint64_t milliseconds) {
  const uint64_t seconds = milliseconds / 1000;
  std::string text;
  const auto part = [&](uint64_t number, char unit) {
    if (number != 0 || !text.empty()) text += std::to_string(number) + unit + ' ';
  };
  part(seconds / 86400, 'd');
  part(seconds / 3600 % 24, 'h');
  part(seconds / 60 % 60, 'm');
  return text + std::to_string(seconds % 60) + 's';
}

std::string PortTable(const google::protobuf::RepeatedPtrField<v1::Port>& ports, size_t indent) {
  std::vector<std::vector<std::string>> rows = {{"NAME", "NUMBER", "PLUGIN", "STATE", "MODE", "NOTE"}};
  for (const v1::Port& port : ports) {
    const std::string mode = Told(port, "mode");
    rows.push_back({port.name(), std::to_string(port.number()), port.plugin(), port.state(), mode.empty() ? "-" : mode,
                    Note(port)});
  }
  return Table(rows, indent);
}

std::string PortDetails(const v1::Port& port, size_t indent) {
  std::vector<std::vector<std::string>> rows;
  if (!port.options().empty()) rows.push_back({"options", Pairs(port.options())});
  for (const auto& [key, value] : std::map<std::string, std::string>(port.info().begin(), port.info().end())) {
    rows.push_back({key, value});
  }
  return Table(rows, indent);
}

std::string PortCounters(const v1::Port& port, size_t indent) { return CounterTable(port.counters(), indent); }

std::string PluginTable(const google::protobuf::RepeatedPtrField<v1::Plugin>& plugins, size_t indent) {
  std::vector<std::vector<std::string>> rows = {{"NAME", "VERSION", "STATE", "ISOLATION", "INSTALLED", "SOFTWARE",
                                                 "REFUSED", "FAILED", "PENDING", "LAG", "PID", "NOTE"}};
  for (const v1::Plugin& plugin : plugins) {
    const std::string pid = plugin.pid() == 0 ? "-" : std::to_string(plugin.pid());
    rows.push_back({plugin.name(), plugin.version(), plugin.state(), plugin.isolation(),
                    std::to_string(plugin.installed()), std::to_string(plugin.software()),
                    std::to_string(plugin.refused()), std::to_string(plugin.failed()), std::to_string(plugin.pending()),
                    std::to_string(plugin.lag()), pid, plugin.detail()});
  }
  return Table(rows, indent);
}

std::string PluginDetails(const v1::Plugin& plugin, size_t indent) {
  std::vector<std::vector<std::string>> rows;
  if (!plugin.path().empty()) rows.push_back({"path", plugin.path()});
  if (!plugin.options().empty()) rows.push_back({"options", Pairs(plugin.options())});
  if (plugin.orphan() == "keep") rows.push_back({"orphan", "keep"});
  if (plugin.adopted()) rows.push_back({"adopted", "from an earlier daemon"});
  if (plugin.restarts() != 0) rows.push_back({"restarts", std::to_string(plugin.restarts())});
  if (plugin.has_absence()) rows.push_back({"last away", AbsenceText(plugin.absence())});
  if (!plugin.capabilities().provides().empty()) {
    rows.push_back({"brings", Pairs(plugin.capabilities().provides())});
  }
  rows.push_back({"fields", Join(plugin.capabilities().fields())});
  rows.push_back({"actions", Join(plugin.capabilities().actions())});
  for (const auto& [key, value] :
       std::map<std::string, uint64_t>(plugin.capabilities().limits().begin(), plugin.capabilities().limits().end())) {
    rows.push_back({key, std::to_string(value)});
  }
  return Table(rows, indent);
}

std::string PublisherTable(const google::protobuf::RepeatedPtrField<v1::Publisher>& publishers, size_t indent) {
  std::vector<std::vector<std::string>> rows = {
      {"NAME", "SENT", "ACCEPTED", "REFUSED", "DROPPED", "MESSAGES", "MISSED", "RUNS"}};
  for (const v1::Publisher& publisher : publishers) {
    rows.push_back({publisher.name().empty() ? "-" : publisher.name(), std::to_string(publisher.sent()),
                    std::to_string(publisher.accepted()), std::to_string(publisher.refused()),
                    std::to_string(publisher.dropped()), std::to_string(publisher.messages()),
                    std::to_string(publisher.missed()), std::to_string(publisher.runs())});
  }
  return Table(rows, indent);
}

std::string StatusText(const v1::Status& status) {
  std::vector<std::vector<std::string>> rows = {{"node", status.node()},
                                                {"version", status.version()},
                                                {"epoch", status.epoch()},
                                                {"uptime", DurationText(status.uptime_ms())},
                                                {"sequence", std::to_string(status.seq())},
                                                {"flows", std::to_string(status.flows())},
                                                {"a second", RatesText(status)},
                                                {"monitors", MonitorsText(status)}};
  for (const auto& [name, url] :
       std::map<std::string, std::string>(status.endpoints().begin(), status.endpoints().end())) {
    rows.push_back({name, url});
  }
  std::string text = Table(rows);
  if (status.ports_size() != 0) text += "\nports\n" + PortTable(status.ports(), 2);
  if (status.plugins_size() != 0) text += "\nplugins\n" + PluginTable(status.plugins(), 2);
  if (status.publishers_size() != 0) {
    text += "\npublishers\n" + PublisherTable(status.publishers(), 2);
  }
  if (status.queues_size() != 0) text += "\nqueues\n" + QueueTable(status, 2);
  if (!status.drops().empty()) text += "\ndropped\n" + CounterTable(status.drops(), 2);
  if (!status.counters().empty()) text += "\ncounters\n" + CounterTable(status.counters(), 2);
  return text;
}

std::string PortLine(const v1::Port& port) {
  std::string text = port.name() + ": number " + std::to_string(port.number()) + ", plugin " + port.plugin();
  if (!port.state().empty()) text += ", " + port.state();
  if (const std::string mode = Told(port, "mode"); !mode.empty()) text += ", mode " + mode;
  if (const std::string note = Note(port); !note.empty()) text += ": " + note;
  return text;
}

std::string PortChanges(const v1::Port& port) {
  const std::string changed = Told(port, "changed");
  return changed.empty() ? "" : "changed on the device: " + changed;
}

std::string PortActivity(const v1::Port& port) {
  std::map<std::string, std::string> counted;
  for (const auto& [key, value] : port.counters()) {
    if (value != 0) counted[key] = std::to_string(value);
  }
  return counted.empty() ? "nothing counted" : Pairs(counted);
}

std::string PluginLine(const v1::Plugin& plugin) {
  std::string text = plugin.name() + ": ";
  if (!plugin.version().empty()) text += "version " + plugin.version() + ", ";  // not known where it failed to load
  text += plugin.state() + " (" + plugin.isolation();
  if (plugin.pid() != 0) text += ", pid " + std::to_string(plugin.pid());
  text += ')';
  if (!plugin.detail().empty()) text += ", " + plugin.detail();
  if (plugin.has_absence() && plugin.absence().cause() == "reload") text += ", " + AbsenceText(plugin.absence());
  return text;
}

}  // namespace sluice::ctl
