// SPDX-License-Identifier: Apache-2.0
// The commands. Each Add function declares its subcommands; the one that the user named leaves what is to be done in
// `run`, which returns the exit code and is called once everything is parsed.
#pragma once

#include <CLI/CLI.hpp>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "console.h"
#include "sluice/error.h"

namespace sluice::ctl {

struct Cli {
  CLI::App& app;
  const Global& global;
  std::function<int()>& run;
};

void AddStatusCommand(const Cli& cli);
void AddPortCommands(const Cli& cli);
void AddPluginCommands(const Cli& cli);
void AddFlowCommands(const Cli& cli);
void AddMonitorCommand(const Cli& cli);
void AddPacketCommands(const Cli& cli);
void AddTraceCommand(const Cli& cli);

// add, mod; declared by AddFlowCommands.
void AddFlowPutCommands(CLI::App& flow, const Cli& cli);

// A subcommand with its example, which stands at the end of its --help.
CLI::App* AddCommand(CLI::App& parent, const std::string& name, const std::string& description,
                     const std::string& example);
// A subcommand that only holds others.
CLI::App* AddGroup(CLI::App& parent, const std::string& name, const std::string& description,
                   const std::string& example);

// "key=value" each.
Result<std::map<std::string, std::string>> ParseOptions(const std::vector<std::string>& options);
CLI::Option* AddOptions(CLI::App* command, std::vector<std::string>& options, const std::string& description);

}  // namespace sluice::ctl
