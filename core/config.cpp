// SPDX-License-Identifier: Apache-2.0
#include "config.h"

#include <toml++/toml.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <functional>
#include <limits>
#include <sstream>
#include <string_view>
#include <utility>

namespace sluice::core {
namespace {

// Thrown and caught in this file only.
struct Bad {
  toml::source_region where;
  std::string what;
};

[[noreturn]] void Refuse(const toml::node& node, std::string what) { throw Bad{node.source(), std::move(what)}; }

const char* TypeName(const toml::node& node) {
  switch (node.type()) {
    case toml::node_type::string:
      return "a string";
    case toml::node_type::integer:
      return "an integer";
    case toml::node_type::floating_point:
      return "a float";
    case toml::node_type::boolean:
      return "a boolean";
    case toml::node_type::array:
      return "an array";
    case toml::node_type::table:
      return "a table";
    default:
      return "a date or time";
  }
}

using Reader = std::function<void(const std::string& key, const toml::node& node)>;
struct Key {
  std::string_view name;
  Reader read;
};

Reader Text(std::string& to) {
  return [&to](const std::string& key, const toml::node& node) {
    const auto* text = node.as_string();
    if (text == nullptr) Refuse(node, key + " has to be a string and is " + TypeName(node));
    to = text->get();
  };
}

Reader Number(uint32_t& to, uint32_t least, uint32_t most = std::numeric_limits<uint32_t>::max()) {
  return [&to, least, most](const std::string& key, const toml::node& node) {
    const auto* number = node.as_integer();
    if (number == nullptr) Refuse(node, key + " has to be an integer and is " + TypeName(node));
    if (number->get() < least || number->get() > most) {
      Refuse(node, key + " is " + std::to_string(number->get()) + "; it can be " + std::to_string(least) + " to " +
                       std::to_string(most));
    }
    to = static_cast<uint32_t>(number->get());
  };
}

// Strings as they are; numbers and booleans as they are written.
Reader Options(std::map<std::string, std::string>& to) {
  return [&to](const std::string& key, const toml::node& node) {
    const auto* table = node.as_table();
    if (table == nullptr) Refuse(node, key + " has to be a table and is " + TypeName(node));
    for (const auto& [name, value] : *table) {
      std::ostringstream written;
      if (const auto* text = value.as_string()) {
        written << text->get();
      } else if (const auto* number = value.as_integer()) {
        written << number->get();
      } else if (const auto* truth = value.as_boolean()) {
        written << (truth->get() ? "true" : "false");
      } else {
        Refuse(value, key + "." + std::string(name.str()) + " has to be a string, an integer or a boolean and is " +
                          TypeName(value));
      }
      to[std::string(name.str())] = written.str();
    }
  };
}

void ReadTable(const toml::table& table, const std::string& prefix, const std::vector<Key>& keys) {
  for (const auto& [name, node] : table) {
    auto known = std::find_if(keys.begin(), keys.end(), [&, key = name.str()](const Key& k) { return k.name == key; });
    const std::string path = prefix + std::string(name.str());
    if (known == keys.end()) {
      std::string why = "there is no setting '" + path + "'; there are here: ";
      for (const Key& key : keys) why.append(&key == &*keys.begin() ? "" : ", ").append(key.name);
      throw Bad{name.source(), why};
    }
    known->read(path, node);
  }
}

Reader Table(std::vector<Key> keys) {
  return [keys = std::move(keys)](const std::string& key, const toml::node& node) {
    const auto* table = node.as_table();
    if (table == nullptr) Refuse(node, "[" + key + "] has to be a table and is " + TypeName(node));
    ReadTable(*table, key + ".", keys);
  };
}

// [[key]]: `one` reads each table.
Reader Tables(std::function<void(const toml::table&)> one) {
  return [one = std::move(one)](const std::string& key, const toml::node& node) {
    const auto* array = node.as_array();
    if (array == nullptr) Refuse(node, "write [[" + key + "]], with two brackets: there can be several");
    for (const toml::node& item : *array) {
      if (!item.is_table()) Refuse(item, "[[" + key + "]] has to be a table and is " + TypeName(item));
      one(*item.as_table());
    }
  };
}

void ReadPlugin(const toml::table& table, Config& config) {
  PluginConfig plugin;
  std::string orphan = "withdraw";
  ReadTable(table, "plugin.",
            {{"name", Text(plugin.name)},
             {"isolation", Text(plugin.isolation)},
             {"orphan", Text(orphan)},
             {"options", Options(plugin.options)}});
  if (plugin.name.empty()) Refuse(table, "this [[plugin]] has no name");
  const std::string& isolation = plugin.isolation;
  if (table.contains("isolation") && isolation != "thread" && isolation != "process") {
    Refuse(*table.get("isolation"), "plugin.isolation is \"" + isolation + "\"; it can be \"thread\" or \"process\"");
  }
  if (orphan != "withdraw" && orphan != "keep") {
    Refuse(*table.get("orphan"), "plugin.orphan is \"" + orphan + "\"; it can be \"withdraw\" or \"keep\"");
  }
  plugin.keep_orphaned = orphan == "keep";
  if (plugin.keep_orphaned && isolation != "process") {
    Refuse(*table.get("orphan"), "plugin.orphan is \"keep\", which only a plugin with isolation \"process\" can");
  }
  config.plugins.push_back(std::move(plugin));
}

void ReadPort(const toml::table& table, Config& config) {
  PortConfig port;
  ReadTable(table, "port.",
            {{"name", Text(port.name)}, {"plugin", Text(port.plugin)}, {"options", Options(port.options)}});
  if (port.name.empty()) Refuse(table, "this [[port]] has no name");
  config.ports.push_back(std::move(port));
}

Reader LogLevel(std::string& to) {
  return [&to](const std::string& key, const toml::node& node) {
    Text(to)(key, node);
    if (auto valid = CheckLogLevel(to); !valid) Refuse(node, valid.error().detail);
  };
}

Reader Endpoint(std::string& to) {
  return [&to](const std::string& key, const toml::node& node) {
    Text(to)(key, node);
    if (to.starts_with("ipc://")) return;
    Refuse(node, key + " is \"" + to +
                     "\": only ipc:// endpoints are offered, for what arrives by tcp:// is not yet "
                     "authenticated");
  };
}

void ReadAll(const toml::table& root, Config& config) {
  constexpr uint32_t kHour = 3'600'000;
  ReadTable(root, "",
            {{"run_dir", Text(config.run_dir)},
             {"node", Text(config.node)},
             {"log_level", LogLevel(config.log_level)},
             {"plugin_dir", Text(config.plugin_dir)},
             {"object_dir", Text(config.object_dir)},
             {"endpoints", Table({{"ingress", Endpoint(config.endpoints.ingress)},
                                  {"control", Endpoint(config.endpoints.control)},
                                  {"events", Endpoint(config.endpoints.events)},
                                  {"plugins", Endpoint(config.endpoints.plugins)}})},
             {"limits", Table({{"max_flows", Number(config.max_flows, 1)},
                               {"max_flows_per_publisher", Number(config.max_flows_per_publisher, 0)},
                               {"max_message", Number(config.max_message, 1'024, 16 << 20)},
                               {"max_tombstones", Number(config.max_tombstones, 256)},
                               {"max_publishers", Number(config.max_publishers, 1, 1'000'000)},
                               {"restarts", Number(config.restarts, 0, 1'000'000)},
                               {"max_connections", Number(config.max_connections, 1, 1'000'000)}})},
             {"queues", Table({{"ingress", Number(config.queue_ingress, 1, 10'000'000)},
                               {"control", Number(config.queue_control, 1, 10'000'000)},
                               {"events", Number(config.queue_events, 1, 10'000'000)},
                               {"packets", Number(config.queue_packets, 1, 1'000'000)}})},
             {"times", Table({{"heartbeat_ms", Number(config.heartbeat_ms, 10, kHour)},
                              {"silence_ms", Number(config.silence_ms, 500, kHour)},
                              {"hang_ms", Number(config.hang_ms, 0, kHour)},
                              {"idle_grace_ms", Number(config.idle_grace_ms, 0, kHour)},
                              {"handshake_ms", Number(config.handshake_ms, 10, kHour)},
                              {"port_ms", Number(config.port_ms, 10, kHour)},
                              {"plugin_start_ms", Number(config.plugin_start_ms, 10, kHour)},
                              {"plugin_stop_ms", Number(config.plugin_stop_ms, 10, kHour)},
                              {"restart_ms", Number(config.restart_ms, 10, kHour)},
                              {"resync_ms", Number(config.resync_ms, 0, kHour)},
                              {"orphan_ms", Number(config.orphan_ms, 0)},
                              {"rejoin_ms", Number(config.rejoin_ms, 0, kHour)}})},
             {"plugin", Tables([&config](const toml::table& table) { ReadPlugin(table, config); })},
             {"port", Tables([&config](const toml::table& table) { ReadPort(table, config); })}});
}

Error At(const std::string& path, const toml::source_region& where, const std::string& what) {
  const std::string position = std::to_string(where.begin.line) + ":" + std::to_string(where.begin.column);
  return Error{"bad_config", path + ":" + position + ": " + what, where.begin.line, where.begin.column};
}

}  // namespace

Result<void> ReadConfigText(const std::string& text, const std::string& path, Config& config) {
  try {
    ReadAll(toml::parse(text, path), config);
    return {};
  } catch (const toml::parse_error& error) {
    return At(path, error.source(), std::string(error.description()));
  } catch (const Bad& bad) {
    return At(path, bad.where, bad.what);
  }
}

Result<void> ReadConfigFile(const std::string& path, Config& config) {
  errno = 0;
  std::ifstream file(path);
  std::ostringstream text;
  if (file) text << file.rdbuf();
  if (!file) {
    const std::string why = errno != 0 ? std::string(": ") + std::strerror(errno) : "";
    return Error{"bad_config", "the configuration file " + path + " cannot be read" + why, 0, 0};
  }
  return ReadConfigText(text.str(), path, config);
}

Result<void> CheckLogLevel(const std::string& level) {
  constexpr std::array<std::string_view, 6> kLevels = {"trace", "debug", "info", "warn", "error", "off"};
  if (std::find(kLevels.begin(), kLevels.end(), level) != kLevels.end()) return {};
  return Error{"bad_config", "the log level is '" + level + "'; it can be trace, debug, info, warn, error or off", 0,
               0};
}

Result<PortConfig> ReadPortArgument(const std::string& text) {
  const auto bad = [&](const std::string& what) {
    return Error{"bad_config", "--port " + text + ": " + what + " (NAME[=PLUGIN[:OPTION=VALUE,...]])", 0, 0};
  };
  PortConfig port;
  const size_t equals = text.find('=');
  port.name = text.substr(0, equals);
  if (port.name.empty()) return bad("there is no name");
  if (equals == std::string::npos) return port;
  const size_t colon = text.find(':', equals);
  port.plugin = text.substr(equals + 1, colon == std::string::npos ? colon : colon - equals - 1);
  if (port.plugin.empty()) return bad("there is no plugin after '='");
  if (colon == std::string::npos) return port;
  std::istringstream options(text.substr(colon + 1));
  for (std::string option; std::getline(options, option, ',');) {
    const size_t is = option.find('=');
    if (is == std::string::npos || is == 0) return bad("option '" + option + "' is not OPTION=VALUE");
    port.options[option.substr(0, is)] = option.substr(is + 1);
  }
  return port;
}

}  // namespace sluice::core
