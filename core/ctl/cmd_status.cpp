// SPDX-License-Identifier: Apache-2.0
#include "commands.h"
#include "daemon.h"
#include "info_print.h"
#include "sluice/wire.h"

namespace sluice::ctl {
namespace {

int ShowStatus(const Global& global) {
  auto daemon = Daemon::Open(global);
  if (!daemon) return Fail(daemon.error());
  if (global.json) {
    PrintJson(ToJson(daemon->status()));
  } else {
    PrintBlock(StatusText(daemon->status()));
  }
  return kExitOk;
}

}  // namespace

void AddStatusCommand(const Cli& cli) {
  CLI::App* status = AddCommand(cli.app, "status", "Show the daemon: flows, ports, plugins, publishers and counters",
                                "  sluicectl status\n  sluicectl status --json | jq .counters");
  status->callback([cli] { cli.run = [&global = cli.global] { return ShowStatus(global); }; });
}

}  // namespace sluice::ctl
