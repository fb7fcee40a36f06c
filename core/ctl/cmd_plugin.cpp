// SPDX-License-Identifier: Apache-2.0
#include <array>
#include <climits>
#include <cstdlib>

#include "commands.h"
#include "daemon.h"
#include "info_print.h"
#include "sluice/wire.h"

namespace sluice::ctl {
namespace {

struct PluginArguments {
  std::string name;
  std::string isolation;
  std::string orphan;
  std::vector<std::string> options;
  bool keep = false;
  bool details = false;
};

// A path is the user's, not the daemon's: the two need not have the same working directory.
std::string AbsolutePath(const std::string& name) {
  if (name.find('/') == std::string::npos) return name;
  std::array<char, PATH_MAX> path{};
  return realpath(name.c_str(), path.data()) != nullptr ? path.data() : name;
}

Result<v1::Request> LoadRequest(const PluginArguments& arguments) {
  const auto options = ParseOptions(arguments.options);
  if (!options) return options.error();
  v1::Request request;
  v1::PluginLoad& load = *request.mutable_plugin_load();
  load.set_name(AbsolutePath(arguments.name));
  load.set_isolation(arguments.isolation);
  load.set_orphan(arguments.orphan);
  load.mutable_options()->insert(options->begin(), options->end());
  return request;
}

int Send(const Global& global, v1::Request request) {
  auto daemon = Daemon::Open(global);
  if (!daemon) return Fail(daemon.error());
  const auto reply = daemon->AskOk(std::move(request));
  if (!reply) return Fail(reply.error());
  for (const v1::Plugin& plugin : reply->plugins()) {
    if (global.json) {
      PrintJson(ToJson(plugin));
    } else {
      Print(PluginLine(plugin));
    }
  }
  return kExitOk;
}

int List(const Global& global, const PluginArguments& arguments) {
  auto daemon = Daemon::Open(global);
  if (!daemon) return Fail(daemon.error());
  v1::Request request;
  request.mutable_plugin_list();
  const auto reply = daemon->AskOk(std::move(request));
  if (!reply) return Fail(reply.error());
  if (global.json) {
    for (const v1::Plugin& plugin : reply->plugins()) PrintJson(ToJson(plugin));
  } else if (!arguments.details) {
    PrintBlock(PluginTable(reply->plugins()));
  } else {
    for (const v1::Plugin& plugin : reply->plugins()) {
      Print(PluginLine(plugin));
      PrintBlock(PluginDetails(plugin, 4));
    }
  }
  return kExitOk;
}

}  // namespace

void AddPluginCommands(const Cli& cli) {
  CLI::App* plugin = AddGroup(cli.app, "plugin", "Load, unload, reload and list offload plugins",
                              "  sluicectl plugin load xdp --isolation process\n  sluicectl plugin list");
  auto arguments = std::make_shared<PluginArguments>();

  CLI::App* load = AddCommand(*plugin, "load", "Load a plugin; the flows that there are follow to it",
                              "  sluicectl plugin load xdp\n"
                              "  sluicectl plugin load ./build/lib/sluice/plugins/xdp.so --isolation process");
  load->add_option("NAME|PATH", arguments->name, "A name in the daemon's plugin directory, or a path")->required();
  load->add_option("--isolation", arguments->isolation,
                   "A thread of the daemon, or a process of its own; by default as the plugin wants it")
      ->check(CLI::IsMember({"thread", "process"}));
  load->add_option(
          "--orphan", arguments->orphan,
          "What a process does when the daemon dies: withdraw and end, or keep the flows and wait for the next")
      ->check(CLI::IsMember({"withdraw", "keep"}));
  AddOptions(load, arguments->options, "An option for the plugin; may be given several times");
  load->callback([cli, arguments] {
    cli.run = [&global = cli.global, arguments] {
      auto request = LoadRequest(*arguments);
      return request ? Send(global, std::move(*request)) : Fail(request.error());
    };
  });

  CLI::App* unload = AddCommand(*plugin, "unload", "Unload a plugin; the daemon keeps the flows",
                                "  sluicectl plugin unload xdp\n  sluicectl plugin unload xdp --keep");
  unload->add_option("NAME", arguments->name, "The plugin")->required();
  unload->add_flag("--keep", arguments->keep, "Leave what is in the device forwarding");
  unload->callback([cli, arguments] {
    cli.run = [&global = cli.global, arguments] {
      v1::Request request;
      request.mutable_plugin_unload()->set_name(arguments->name);
      request.mutable_plugin_unload()->set_keep(arguments->keep);
      return Send(global, std::move(request));
    };
  });

  CLI::App* reload =
      AddCommand(*plugin, "reload", "Load a plugin anew, from the file as it is now", "  sluicectl plugin reload xdp");
  reload->add_option("NAME", arguments->name, "The plugin")->required();
  reload->callback([cli, arguments] {
    cli.run = [&global = cli.global, arguments] {
      v1::Request request;
      request.mutable_plugin_reload()->set_name(arguments->name);
      return Send(global, std::move(request));
    };
  });

  CLI::App* list = AddCommand(*plugin, "list", "List the plugins", "  sluicectl plugin list --details");
  list->add_flag("--details", arguments->details, "Show the fields, actions and limits of each");
  list->callback(
      [cli, arguments] { cli.run = [&global = cli.global, arguments] { return List(global, *arguments); }; });
}

}  // namespace sluice::ctl
