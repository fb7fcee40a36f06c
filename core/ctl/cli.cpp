// SPDX-License-Identifier: Apache-2.0
#include "cli.h"

#include <csignal>
#include <exception>
#include <iostream>

#include "commands.h"
#include "flow_line.h"

namespace sluice::ctl {
namespace {

constexpr const char* kExamples = R"(Exit status:
  0 done; 1 refused by the daemon, which says why; 2 wrong usage; 3 no daemon answers

Example:
  sluicectl port add p0
  sluicectl port add p1
  sluicectl flow add 'in_port(p0),eth_type(0x0800),ipv4(dst=10.0.0.0/24), actions:p1'
  sluicectl flow dump)";

std::string Names(const CLI::App& app) {
  std::string names;
  for (const CLI::App* command : app.get_subcommands({})) names += (names.empty() ? "" : ", ") + command->get_name();
  return names;
}

std::string Path(const CLI::App& app) {
  return app.get_parent() == nullptr ? app.get_name() : Path(*app.get_parent()) + ' ' + app.get_name();
}

// The last subcommand that was understood.
const CLI::App& Deepest(const CLI::App& app) {
  const auto parsed = app.get_subcommands();
  return parsed.empty() ? app : Deepest(*parsed.back());
}

// CLI11's own sentence, unless it would not say which word is wrong or what there is instead.
std::string UsageSentence(const CLI::App& app, const CLI::App& at, const CLI::ParseError& error) {
  const auto rest = app.remaining(true);  // it fell through to the top
  for (const std::string& word : rest) {
    if (word.starts_with('-')) return "there is no option " + word;
  }
  if (at.get_subcommands([](const CLI::App*) { return true; }).empty()) {
    if (!rest.empty()) return "'" + rest.front() + "' is one argument too many";
    return error.what();
  }
  if (error.get_exit_code() != static_cast<int>(CLI::ExitCodes::RequiredError) &&
      error.get_exit_code() != static_cast<int>(CLI::ExitCodes::ExtrasError)) {
    return error.what();
  }
  const std::string there = "; there are: " + Names(at);
  return rest.empty() ? "a command is missing" + there : "there is no command '" + rest.front() + '\'' + there;
}

int UsageError(const CLI::App& app, const CLI::ParseError& error) {
  const CLI::App& at = Deepest(app);
  std::string sentence = UsageSentence(app, at, error);
  while (sentence.ends_with('\n')) sentence.pop_back();
  std::cerr << Path(at) << ": " << sentence << "\nTry '" << Path(at) << " --help'.\n";
  return kExitUsage;
}

// CLI11's own check names the largest double.
std::string CheckTimeout(const std::string& text) {
  constexpr uint32_t kLongest = 86400;
  const auto milliseconds = ParseSeconds(text);
  if (milliseconds && *milliseconds > 0 && *milliseconds <= kLongest * 1000) return "";
  return "'" + text + "' is not a time in seconds (up to " + std::to_string(kLongest) + ")";
}

void AddGlobals(CLI::App& app, Global& global) {
  app.add_flag("--json", global.json, "Print JSON, for lists and streams one object a line");
  app.add_option("--endpoint", global.endpoint,
                 "The daemon's run directory or the URL of its control endpoint (default: $SLUICE_RUN_DIR, "
                 "else /run/sluice)")
      ->type_name("DIR|URL");
  app.add_option(
         "--timeout", global.timeout,
         "How long to wait for an answer (default: 2 for the daemon to show that it is there, 30 for a request)")
      ->type_name("SECONDS")
      ->check(CLI::Validator(CheckTimeout, ""));
}

int Parse(CLI::App& app, int argc, char** argv, const std::function<int()>& run) {
  try {
    app.parse(argc, argv);
  } catch (const CLI::CallForHelp& help) {
    return app.exit(help);
  } catch (const CLI::CallForAllHelp& help) {
    return app.exit(help);
  } catch (const CLI::CallForVersion& version) {
    return app.exit(version);
  } catch (const CLI::ParseError& error) {
    return UsageError(app, error);
  }
  return FinishOutput(run());
}

}  // namespace

CLI::App* AddCommand(CLI::App& parent, const std::string& name, const std::string& description,
                     const std::string& example) {
  CLI::App* command = parent.add_subcommand(name, description);
  command->footer("--json, --endpoint and --timeout are those of 'sluicectl --help'.\n\nExample:\n" + example);
  return command;
}

CLI::App* AddGroup(CLI::App& parent, const std::string& name, const std::string& description,
                   const std::string& example) {
  CLI::App* group = AddCommand(parent, name, description, example);
  group->require_subcommand(1);
  return group;
}

Result<std::map<std::string, std::string>> ParseOptions(const std::vector<std::string>& options) {
  std::map<std::string, std::string> parsed;
  for (const std::string& option : options) {
    const size_t equals = option.find('=');
    if (equals == std::string::npos || equals == 0) {
      return Error{kUsage, "--option " + option + ": it is written NAME=VALUE"};
    }
    parsed[option.substr(0, equals)] = option.substr(equals + 1);
  }
  return parsed;
}

CLI::Option* AddOptions(CLI::App* command, std::vector<std::string>& options, const std::string& description) {
  return command->add_option("--option", options, description)->type_name("NAME=VALUE")->allow_extra_args(false);
}

int Run(int argc, char** argv) {
  // A reader that goes away shows as a failed write: the monitor then ends as it does on a signal.
  std::signal(SIGPIPE, SIG_IGN);
  try {
    Global global;
    std::function<int()> run;
    CLI::App app("Talks to sluiced, the flow-offload daemon.", "sluicectl");
    app.set_version_flag("--version", "sluicectl " SLUICE_VERSION);
    app.require_subcommand(1);
    app.fallthrough();
    app.footer(kExamples);
    AddGlobals(app, global);
    const Cli cli{app, global, run};
    AddStatusCommand(cli);
    AddPortCommands(cli);
    AddPluginCommands(cli);
    AddFlowCommands(cli);
    AddMonitorCommand(cli);
    AddPacketCommands(cli);
    AddTraceCommand(cli);
    return Parse(app, argc, argv, run);
  } catch (const std::exception& error) {
    std::cerr << "sluicectl: " << error.what() << '\n';
    return kExitRefused;
  }
}

}  // namespace sluice::ctl
