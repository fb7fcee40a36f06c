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
  CLI::App* status = AddCommand(
      cli.app, "status", "Show the daemon: flows, ports, plugins, publishers, monitors, queues and what was lost",
      "  sluicectl status\n"
      "  sluicectl status --json | jq .drops\n"
      "  sluicectl status --json | jq '.publishers[] | select(.dropped > 0)'");
  status->footer(
      "Of a publisher's records (flows, keys, packets, flushes) SENT = ACCEPTED + REFUSED + DROPPED; DROPPED never "
      "came.\n"
      "A queue's depth is '-' where it is not known, its limit where only others bound it.\n\n" +
      status->get_footer());
  status->callback([cli] { cli.run = [&global = cli.global] { return ShowStatus(global); }; });
}

}  // namespace sluice::ctl
