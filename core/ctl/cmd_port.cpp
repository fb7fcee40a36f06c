// SPDX-License-Identifier: Apache-2.0
#include "commands.h"
#include "daemon.h"
#include "info_print.h"
#include "sluice/wire.h"

namespace sluice::ctl {
namespace {

struct PortArguments {
  std::string name;
  std::string plugin = "xdp";
  std::vector<std::string> options;
  bool details = false;
  bool counters = false;
};

void ShowPort(const Global& global, const v1::Port& port) {
  if (global.json) {
    PrintJson(ToJson(port));
  } else {
    Print(PortLine(port));
    if (const std::string changes = PortChanges(port); !changes.empty()) Print("    " + changes);
  }
}

int AddPort(const Global& global, const PortArguments& arguments) {
  const auto options = ParseOptions(arguments.options);
  if (!options) return Fail(options.error());
  auto daemon = Daemon::Open(global);
  if (!daemon) return Fail(daemon.error());
  v1::Request request;
  v1::PortAdd& add = *request.mutable_port_add();
  add.set_name(arguments.name);
  add.set_plugin(arguments.plugin);
  add.mutable_options()->insert(options->begin(), options->end());
  const auto reply = daemon->AskOk(std::move(request));
  if (!reply) return Fail(reply.error());
  for (const v1::Port& port : reply->ports()) ShowPort(global, port);
  return kExitOk;
}

int DeletePort(const Global& global, const PortArguments& arguments) {
  auto daemon = Daemon::Open(global);
  if (!daemon) return Fail(daemon.error());
  v1::Request request;
  request.mutable_port_del()->set_name(arguments.name);
  const auto reply = daemon->AskOk(std::move(request));
  if (!reply) return Fail(reply.error());
  return kExitOk;
}

int ListPorts(const Global& global, const PortArguments& arguments) {
  auto daemon = Daemon::Open(global);
  if (!daemon) return Fail(daemon.error());
  v1::Request request;
  request.mutable_port_list();
  const auto reply = daemon->AskOk(std::move(request));
  if (!reply) return Fail(reply.error());
  if (global.json) {
    for (const v1::Port& port : reply->ports()) PrintJson(ToJson(port));
  } else if (!arguments.details && !arguments.counters) {
    PrintBlock(PortTable(reply->ports()));
  } else {
    for (const v1::Port& port : reply->ports()) {
      Print(port.name());
      if (arguments.details) PrintBlock(PortDetails(port, 4));
      if (arguments.counters) PrintBlock(PortCounters(port, 4));
    }
  }
  return kExitOk;
}

}  // namespace

void AddPortCommands(const Cli& cli) {
  CLI::App* port = AddGroup(cli.app, "port", "Attach, detach and list ports",
                            "  sluicectl port add p0 --option mode=native\n  sluicectl port list");
  auto arguments = std::make_shared<PortArguments>();

  CLI::App* add = AddCommand(*port, "add", "Attach a network device as a port",
                             "  sluicectl port add p0\n"
                             "  sluicectl port add p0 --plugin xdp --option mode=native --option miss=upcall");
  add->add_option("NAME", arguments->name, "The network device")->required();
  add->add_option("--plugin", arguments->plugin, "The plugin that drives it")->capture_default_str();
  AddOptions(add, arguments->options, "An option for the plugin; may be given several times");
  add->callback(
      [cli, arguments] { cli.run = [&global = cli.global, arguments] { return AddPort(global, *arguments); }; });

  CLI::App* del = AddCommand(*port, "del", "Detach a port", "  sluicectl port del p0");
  del->add_option("NAME", arguments->name, "The port")->required();
  del->callback(
      [cli, arguments] { cli.run = [&global = cli.global, arguments] { return DeletePort(global, *arguments); }; });

  CLI::App* list =
      AddCommand(*port, "list", "List the ports", "  sluicectl port list\n  sluicectl port list --details --counters");
  list->add_flag("--details", arguments->details, "Show what its plugin tells of each port");
  list->add_flag("--counters", arguments->counters, "Show what each port has counted");
  list->callback(
      [cli, arguments] { cli.run = [&global = cli.global, arguments] { return ListPorts(global, *arguments); }; });
}

}  // namespace sluice::ctl
