// SPDX-License-Identifier: Apache-2.0
// What the daemon is told at start: by file, environment and command line, the later winning.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "sluice/endpoints.h"
#include "sluice/error.h"

namespace sluice::core {

struct PluginConfig {
  std::string name;       // or a path
  std::string isolation;  // "thread" or "process"; empty: as the plugin wants it
  std::map<std::string, std::string> options;
  bool keep_orphaned = false;
};

struct PortConfig {
  std::string name;
  std::string plugin = "xdp";
  std::map<std::string, std::string> options;
};

struct Config {
  std::string run_dir;
  std::string node;  // empty: the host's name
  std::string log_level = "info";
  std::string plugin_dir;  // empty: where they were installed
  std::string object_dir;
  Endpoints endpoints;  // those not set are in the run directory

  uint32_t max_flows = 1'048'576;
  uint32_t max_flows_per_publisher = 0;  // 0: as many as there may be
  uint32_t max_message = 4 << 20;        // bytes
  uint32_t max_tombstones = 1'048'576;
  uint32_t max_publishers = 1'024;
  uint32_t max_connections = 4'096;  // to each endpoint

  // Messages that may wait in a socket, per peer.
  uint32_t queue_ingress = 10'000;
  uint32_t queue_control = 1'000;
  uint32_t queue_events = 10'000;
  uint32_t queue_packets = 16'384;  // packet outs waiting for a plugin

  uint32_t heartbeat_ms = 1'000;
  uint32_t silence_ms = 800;
  uint32_t hang_ms = 1'000;
  uint32_t idle_grace_ms = 800;
  uint32_t handshake_ms = 10'000;
  uint32_t port_ms = 10'000;
  uint32_t plugin_start_ms = 10'000;
  uint32_t plugin_stop_ms = 5'000;
  uint32_t restart_ms = 100;
  uint32_t restarts = 8;
  uint32_t resync_ms = 1'000;
  uint32_t orphan_ms = 300'000;  // 0: for ever
  uint32_t rejoin_ms = 10'000;

  std::vector<PluginConfig> plugins;
  std::vector<PortConfig> ports;
};

// Adds what the file says. Errors: "bad_config", the detail beginning with FILE:LINE:COLUMN.
Result<void> ReadConfigFile(const std::string& path, Config& config);
// For tests: the same of a text.
Result<void> ReadConfigText(const std::string& text, const std::string& path, Config& config);

// NAME[=PLUGIN[:OPTION=VALUE,...]].
Result<PortConfig> ReadPortArgument(const std::string& text);
Result<void> CheckLogLevel(const std::string& level);

struct CommandLine {
  std::optional<Config> config;  // absent: exit with `status`
  int status = 0;
};
// Reads the command line, the file that it names and the environment; prints help, version and errors. Wrong usage is
// status 2.
CommandLine ReadCommandLine(int argc, const char* const* argv);

}  // namespace sluice::core
