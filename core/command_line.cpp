// SPDX-License-Identifier: Apache-2.0
#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <cstdlib>

#include "config.h"

namespace sluice::core {
namespace {

constexpr int kWrongUsage = 2;

constexpr const char* kExample =
    "Examples:\n"
    "  sluiced --plugin xdp --port eth1 --port eth2\n"
    "  sluiced --config /etc/sluice/sluiced.toml --log-level debug\n"
    "  sluiced --run-dir /tmp/s --port p0=xdp:mode=generic,miss=drop\n";

struct Arguments {
  std::string config;
  std::string run_dir;
  std::vector<std::string> plugins;
  std::vector<std::string> ports;
  std::string log_level;
};

void AddPlugin(const std::string& name, Config& config) {
  const auto same = [&](const PluginConfig& plugin) { return plugin.name == name; };
  if (std::none_of(config.plugins.begin(), config.plugins.end(), same)) {
    config.plugins.emplace_back().name = name;
  }
}

// The file first, then what the environment and the command line say.
Result<Config> Merge(const Arguments& arguments) {
  Config config;
  if (!arguments.config.empty()) {
    if (auto read = ReadConfigFile(arguments.config, config); !read) return read.error();
  }
  const char* environment = std::getenv("SLUICE_RUN_DIR");
  if (!arguments.run_dir.empty()) {
    config.run_dir = arguments.run_dir;
  } else if (config.run_dir.empty() || (environment != nullptr && *environment != '\0')) {
    config.run_dir = DefaultRunDir();
  }
  if (!arguments.log_level.empty()) {
    if (auto valid = CheckLogLevel(arguments.log_level); !valid) return valid.error();
    config.log_level = arguments.log_level;
  }
  for (const std::string& name : arguments.plugins) AddPlugin(name, config);
  for (const std::string& text : arguments.ports) {
    auto port = ReadPortArgument(text);
    if (!port) return port.error();
    const auto same = [&](const PortConfig& other) { return other.name == port->name; };
    std::erase_if(config.ports, same);
    config.ports.push_back(std::move(*port));
  }
  // A port wants its plugin, which may have been named by its path.
  for (const PortConfig& port : config.ports) {
    const auto serves = [&](const PluginConfig& plugin) {
      return plugin.name == port.plugin || plugin.name.ends_with("/" + port.plugin + ".so");
    };
    if (std::none_of(config.plugins.begin(), config.plugins.end(), serves)) AddPlugin(port.plugin, config);
  }
  return config;
}

}  // namespace

CommandLine ReadCommandLine(int argc, const char* const* argv) {
  Arguments arguments;
  CLI::App app("The Sluice daemon: keeps flows, orders them, and has plugins offload them.", "sluiced");
  app.footer(kExample);
  app.set_version_flag("--version", "sluiced " SLUICE_VERSION);
  app.add_option("--config", arguments.config, "Read settings from this TOML file")->type_name("FILE");
  app.add_option("--run-dir", arguments.run_dir, "Where the sockets are (also SLUICE_RUN_DIR; default /run/sluice)")
      ->type_name("DIR");
  app.add_option("--plugin", arguments.plugins, "Load this plugin; may be given again")
      ->type_name("NAME")
      ->allow_extra_args(false);
  app.add_option("--port", arguments.ports, "Add this port; may be given again. The plugin is xdp where none is named")
      ->type_name("NAME[=PLUGIN[:OPTION=VALUE,...]]")
      ->allow_extra_args(false);
  app.add_option("--log-level", arguments.log_level, "trace, debug, info, warn, error or off")->type_name("L");
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& result) {
    return {.config = std::nullopt, .status = app.exit(result) == 0 ? 0 : kWrongUsage};
  }
  auto config = Merge(arguments);
  if (config) return {.config = std::move(*config)};
  std::fprintf(stderr, "sluiced: %s\n", config.error().detail.c_str());
  return {.config = std::nullopt, .status = kWrongUsage};
}

}  // namespace sluice::core
