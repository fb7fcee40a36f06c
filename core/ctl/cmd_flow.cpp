// SPDX-License-Identifier: Apache-2.0
// flow del, flush, get, dump.
#include <unordered_set>

#include "commands.h"
#include "daemon.h"
#include "flow_filter.h"
#include "flow_line.h"
#include "flow_print.h"
#include "sluice/ufid.h"

namespace sluice::ctl {
namespace {

struct FlowArguments {
  std::string flow;
  std::string port;
  std::string plugin;
  std::string filter;
};

bool ShowFlow(const Global& global, const v1::Flow& flow) {
  return global.json ? PrintJson(FlowJson(flow)) : Print(FlowLineText(flow));
}

int DeleteFlow(const Global& global, const FlowArguments& arguments) {
  v1::Request request;
  v1::FlowDel& del = *request.mutable_flow_del();
  del.set_publisher("sluicectl");
  if (const auto ufid = Ufid::Parse(arguments.flow)) {
    del.add_flows()->set_ufid(ufid->ToString());
  } else {
    const auto line = SplitFlow(arguments.flow);
    if (!line) return Fail(line.error(), arguments.flow);
    if (line->ufid.empty() && line->match.empty()) return Fail(Error{kUsage, "flow del: name a ufid or a match"});
    if (line->ufid.empty()) {
      del.add_flows()->set_match(line->match);
    } else {
      del.add_flows()->set_ufid(line->ufid);
    }
  }
  auto daemon = Daemon::Open(global);
  if (!daemon) return Fail(daemon.error());
  const auto reply = daemon->Ask(std::move(request));
  if (!reply) return Fail(reply.error());
  for (const v1::Flow& flow : reply->flows()) ShowFlow(global, flow);
  return reply->ok() ? kExitOk : Fail(*reply, arguments.flow);
}

int FlushFlows(const Global& global, const FlowArguments& arguments) {
  auto daemon = Daemon::Open(global);
  if (!daemon) return Fail(daemon.error());
  v1::Request request;
  request.mutable_flow_flush()->set_port(arguments.port);
  request.mutable_flow_flush()->set_publisher("sluicectl");
  const auto reply = daemon->AskOk(std::move(request));
  if (!reply) return Fail(reply.error());
  if (global.json) {
    PrintJson({{"removed", reply->accepted()}});
  } else {
    Print(std::to_string(reply->accepted()) + " removed");
  }
  return kExitOk;
}

int GetFlow(const Global& global, const FlowArguments& arguments) {
  auto daemon = Daemon::Open(global);
  if (!daemon) return Fail(daemon.error());
  v1::Request request;
  const auto ufid = Ufid::Parse(arguments.flow);
  request.mutable_flow_get()->set_ufid(ufid ? ufid->ToString() : arguments.flow);
  const auto reply = daemon->AskOk(std::move(request));
  if (!reply) return Fail(reply.error());
  for (const v1::Flow& flow : reply->flows()) ShowFlow(global, flow);
  return kExitOk;
}

// Walks the table as it is printed; a flow that changes meanwhile comes again in the walk and is not printed again.
int DumpFlows(const Global& global, const FlowArguments& arguments) {
  auto daemon = Daemon::Open(global);
  if (!daemon) return Fail(daemon.error());
  std::optional<FlowFilter> filter;
  if (!arguments.filter.empty()) {
    auto parsed = FlowFilter::Parse(arguments.filter, daemon->status().ports());
    if (!parsed) {
      Complain("--filter: " + Explain(parsed.error(), arguments.filter));
      return kExitUsage;
    }
    filter = std::move(*parsed);
  }
  v1::Snapshot snapshot;
  snapshot.set_port(arguments.port);
  snapshot.set_plugin(arguments.plugin);
  std::unordered_set<Ufid> printed;
  const auto last = daemon->Walk(std::move(snapshot), [&](const v1::Reply& reply) {
    for (const v1::Flow& flow : reply.flows()) {
      if (const auto ufid = Ufid::Parse(flow.ufid()); ufid && !printed.insert(*ufid).second) continue;
      if (filter && !filter->Overlaps(flow.match())) continue;
      if (!ShowFlow(global, flow)) return false;
    }
    return true;
  });
  return last ? kExitOk : Fail(last.error());
}

}  // namespace

void AddFlowCommands(const Cli& cli) {
  CLI::App* flow = AddGroup(cli.app, "flow", "Add, change, remove and show flows",
                            "  sluicectl flow add 'in_port(p0),eth(dst=02:00:00:00:00:01), actions:p1'\n"
                            "  sluicectl flow dump --port p0");
  auto arguments = std::make_shared<FlowArguments>();
  const auto set_run = [&](CLI::App* command, int (*function)(const Global&, const FlowArguments&)) {
    command->callback([cli, arguments, function] {
      cli.run = [&global = cli.global, arguments, function] { return function(global, *arguments); };
    });
  };
  AddFlowPutCommands(*flow, cli);

  CLI::App* del = AddCommand(*flow, "del", "Remove a flow and show it with its last counters",
                             "  sluicectl flow del 6f0e8ac1-1d1c-4f0a-8b1e-0f3b6d3c9a01\n"
                             "  sluicectl flow del 'in_port(p0),eth_type(0x0800),ipv4(dst=10.0.0.0/24)'");
  del->add_option("UFID|FLOW", arguments->flow, "The flow's ufid, or the match it was added with")->required();
  set_run(del, DeleteFlow);

  CLI::App* flush = AddCommand(*flow, "flush", "Remove all flows, or those of a port",
                               "  sluicectl flow flush\n  sluicectl flow flush --port p0");
  flush->add_option("--port", arguments->port, "Only flows whose in_port this is");
  set_run(flush, FlushFlows);

  CLI::App* get =
      AddCommand(*flow, "get", "Show one flow", "  sluicectl flow get 6f0e8ac1-1d1c-4f0a-8b1e-0f3b6d3c9a01");
  get->add_option("UFID", arguments->flow, "The flow's ufid")->required();
  set_run(get, GetFlow);

  CLI::App* dump = AddCommand(*flow, "dump", "Show the flow table; what it prints can be given to 'flow add --file'",
                              "  sluicectl flow dump --port p0\n"
                              "  sluicectl flow dump --plugin xdp --filter 'ipv4(dst=10.0.0.5),udp(dst=53)'");
  dump->add_option("--port", arguments->port, "Only flows whose in_port this is");
  dump->add_option("--plugin", arguments->plugin, "Only flows that this plugin has installed");
  dump->add_option("--filter", arguments->filter,
                   "Only flows that could share a packet with this match: for every field that both name, the values "
                   "agree in the bits that both masks have. A flow that leaves a field open is shown too; protocols "
                   "that exclude each other (tcp and udp, ipv4 and arp) do not match");
  set_run(dump, DumpFlows);
}

}  // namespace sluice::ctl
