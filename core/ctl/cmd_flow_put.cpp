// SPDX-License-Identifier: Apache-2.0
// flow add, flow mod.
#include "commands.h"
#include "daemon.h"
#include "flow_file.h"
#include "flow_line.h"
#include "sluice/ufid.h"

namespace sluice::ctl {
namespace {

struct PutArguments {
  bool modify = false;
  std::vector<std::string> words;
  std::string file;
  std::string ufid;
  std::optional<uint32_t> priority;
  std::string idle_timeout;
  std::string hard_timeout;
};

Result<FlowDefaults> Defaults(const PutArguments& arguments) {
  FlowDefaults defaults;
  defaults.priority = arguments.priority;
  if (!arguments.ufid.empty()) {
    const auto ufid = Ufid::Parse(arguments.ufid);
    if (!ufid) return Error{kUsage, "--ufid " + arguments.ufid + ": a ufid has 32 hexadecimal digits"};
    defaults.ufid = ufid->ToString();
  }
  const auto seconds = [](const std::string& option, const std::string& text,
                          std::optional<uint32_t>& to) -> Result<void> {
    if (text.empty()) return {};
    to = ParseSeconds(text);
    if (!to) return Error{kUsage, option + ' ' + text + ": it is a time in seconds"};
    return {};
  };
  if (auto ok = seconds("--idle-timeout", arguments.idle_timeout, defaults.idle_timeout_ms); !ok) return ok.error();
  if (auto ok = seconds("--hard-timeout", arguments.hard_timeout, defaults.hard_timeout_ms); !ok) return ok.error();
  return defaults;
}

// flow mod 'ufid:..., actions:...' names the flow by its ufid alone: what it does not say stays as it is.
Result<void> FillFromTable(Daemon& daemon, FlowLine& line) {
  v1::Request request;
  request.mutable_flow_get()->set_ufid(line.ufid);
  const auto reply = daemon.AskOk(std::move(request));
  if (!reply) return reply.error();
  if (reply->flows().empty()) return Error{"no_such_flow", "there is no flow " + line.ufid};
  const v1::Flow& flow = reply->flows(0);
  line.match = flow.match();
  if (!line.has_actions) line.actions = flow.actions();
  if (!line.priority) line.priority = flow.priority();
  if (!line.idle_timeout_ms) line.idle_timeout_ms = flow.idle_timeout_ms();
  if (!line.hard_timeout_ms) line.hard_timeout_ms = flow.hard_timeout_ms();
  return {};
}

int PutOne(const Global& global, const PutArguments& arguments, const FlowDefaults& defaults) {
  std::string text;
  for (const std::string& word : arguments.words) text += (text.empty() ? "" : " ") + word;
  if (text.find_first_not_of(" \t\n") == std::string::npos) {
    // It would match every packet, and drop it: more likely a shell variable that was not set.
    return Fail(Error{kUsage, "the flow is empty; one that matches every packet is written 'actions:...'"});
  }
  auto line = SplitFlow(text);
  if (!line) return Fail(line.error(), text);
  Apply(defaults, *line);
  auto daemon = Daemon::Open(global);
  if (!daemon) return Fail(daemon.error());
  if (arguments.modify && line->match.empty() && !line->ufid.empty()) {
    if (auto filled = FillFromTable(*daemon, *line); !filled) return Fail(filled.error());
  }
  v1::Request request;
  v1::FlowPut& put = arguments.modify ? *request.mutable_flow_mod() : *request.mutable_flow_put();
  put.set_publisher("sluicectl");
  *put.add_flows() = ToFlow(*line);
  const auto reply = daemon->Ask(std::move(request));
  if (!reply) return Fail(reply.error());
  if (!reply->ok()) return Fail(*reply, text);
  const std::string ufid = reply->ufids().empty() ? line->ufid : reply->ufids(0);
  if (global.json) {
    PrintJson({{"ufid", ufid}});
  } else {
    Print("ufid:" + ufid);
  }
  return kExitOk;
}

int PutFile(const Global& global, const PutArguments& arguments, const FlowDefaults& defaults) {
  auto reader = LineReader::Open(arguments.file);
  if (!reader) return Fail(reader.error());
  auto daemon = Daemon::Open(global);
  if (!daemon) return Fail(daemon.error());
  FlowFile file(*daemon, arguments.file, arguments.modify, defaults);
  const auto sent = file.Send(*reader);
  const char* done = arguments.modify ? "modified" : "added";
  if (global.json) {
    PrintJson({{done, file.accepted()}, {"refused", file.refused()}});
  } else {
    Print(std::to_string(file.accepted()) + ' ' + done + ", " + std::to_string(file.refused()) + " refused");
  }
  if (!sent) return Fail(sent.error());
  return file.refused() == 0 ? kExitOk : kExitRefused;
}

int Put(const Global& global, const PutArguments& arguments) {
  const auto defaults = Defaults(arguments);
  if (!defaults) return Fail(defaults.error());
  if (arguments.file.empty() == arguments.words.empty()) {
    return Fail(
        Error{kUsage, std::string(arguments.modify ? "flow mod" : "flow add") + ": give either a flow or --file"});
  }
  return arguments.file.empty() ? PutOne(global, arguments, *defaults) : PutFile(global, arguments, *defaults);
}

void AddPut(CLI::App& flow, const Cli& cli, bool modify, const std::string& description, const std::string& example) {
  auto arguments = std::make_shared<PutArguments>();
  arguments->modify = modify;
  CLI::App* put = AddCommand(flow, modify ? "mod" : "add", description, example);
  put->add_option("FLOW", arguments->words, "The flow, as 'MATCH, actions:ACTIONS'; without actions it drops")
      ->expected(1, CLI::detail::expected_max_vector_size);
  CLI::Option* file = put->add_option("--file", arguments->file,
                                      "Read flows from a file (-: standard input), one a line; # starts a comment line")
                          ->type_name("FILE");
  put->add_option("--ufid", arguments->ufid, "The flow's name; if none is given it follows from the match")
      ->excludes(file);
  put->add_option("--priority", arguments->priority, "Where flows overlap the higher wins (default: 0)");
  put->add_option("--idle-timeout", arguments->idle_timeout, "Remove the flow after so long without a packet")
      ->type_name("SECONDS");
  put->add_option("--hard-timeout", arguments->hard_timeout, "Remove the flow after so long in any case")
      ->type_name("SECONDS");
  put->callback([cli, arguments] { cli.run = [&global = cli.global, arguments] { return Put(global, *arguments); }; });
}

}  // namespace

void AddFlowPutCommands(CLI::App& flow, const Cli& cli) {
  AddPut(
      flow, cli, false, "Add a flow, or replace the one of that ufid or match",
      "  sluicectl flow add 'in_port(p0),eth_type(0x0800),ipv4(dst=10.0.0.0/24), actions:push_vlan(vid=5,pcp=0),p1'\n"
      "  sluicectl flow add 'in_port(p0)' 'actions:p1' --priority 10 --idle-timeout 60\n"
      "  sluicectl flow dump > flows.txt; sluicectl flow add --file flows.txt");
  AddPut(flow, cli, true, "Change a flow that exists; named by its ufid alone it keeps what is not said",
         "  sluicectl flow mod 'in_port(p0), actions:p2'\n"
         "  sluicectl flow mod 'ufid:6f0e8ac1-1d1c-4f0a-8b1e-0f3b6d3c9a01, actions:drop'");
}

}  // namespace sluice::ctl
