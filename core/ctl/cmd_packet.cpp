// SPDX-License-Identifier: Apache-2.0
#include "commands.h"
#include "daemon.h"
#include "info_print.h"

namespace sluice::ctl {
namespace {

struct PacketArguments {
  std::string in_port;
  std::vector<std::string> hex;
  std::optional<std::string> actions;
};

int SendPacket(const Global& global, const PacketArguments& arguments) {
  std::string hex;
  for (const std::string& word : arguments.hex) hex += (hex.empty() ? "" : " ") + word;
  const auto data = ParseHex(hex);
  if (!data) {
    Complain("--hex: " + Explain(data.error(), hex));
    return kExitUsage;
  }
  auto daemon = Daemon::Open(global);
  if (!daemon) return Fail(daemon.error());
  v1::Request request;
  v1::PacketOut& packet = *request.mutable_packet_out();
  packet.set_in_port(arguments.in_port);
  packet.set_data(*data);
  packet.set_publisher("sluicectl");
  if (arguments.actions) packet.set_actions(*arguments.actions);
  const auto reply = daemon->Ask(std::move(request));
  if (!reply) return Fail(reply.error());
  if (!reply->ok()) return Fail(*reply, arguments.actions.value_or(""));
  return kExitOk;
}

}  // namespace

void AddPacketCommands(const Cli& cli) {
  constexpr const char* kExample =
      "  sluicectl packet out --in-port p0 --hex 'ffffffffffff 020000000001 0800 4500...'\n"
      "  sluicectl packet out --in-port p0 --hex ffffffffffff02000000000188b5 --actions p1";
  CLI::App* packet = AddGroup(cli.app, "packet", "Send a packet through the datapath", kExample);
  auto arguments = std::make_shared<PacketArguments>();
  CLI::App* out =
      AddCommand(*packet, "out", "Bring a packet into the datapath as if it had come in by a port", kExample);
  out->add_option("--in-port", arguments->in_port, "The port")->required();
  out->add_option("--hex", arguments->hex,
                  "The frame from the Ethernet destination on, in hexadecimal; blanks and colons are read over")
      ->required()
      ->expected(1, CLI::detail::expected_max_vector_size);
  out->add_option("--actions", arguments->actions, "What to do with it, instead of looking up its flow");
  out->callback(
      [cli, arguments] { cli.run = [&global = cli.global, arguments] { return SendPacket(global, *arguments); }; });
}

}  // namespace sluice::ctl
