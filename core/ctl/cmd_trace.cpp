// SPDX-License-Identifier: Apache-2.0
#include "commands.h"
#include "daemon.h"
#include "info_print.h"
#include "packet_fields.h"
#include "pcap_file.h"
#include "port_numbers.h"
#include "trace.h"
#include "trace_print.h"
#include "trace_tunnel.h"

namespace sluice::ctl {
namespace {

struct TraceArguments {
  std::optional<std::string> fields;
  std::optional<std::string> pcap;
  std::vector<std::string> hex;
  std::string in_port;
  std::vector<std::string> ct_states;
  uint32_t ct_mark = 0;
  bool bytes = false;
};

// "est,rpl" or "+trk+est+rpl": names of bits. That the packet is tracked goes without saying.
Result<uint32_t> ReadCtState(std::string_view text) {
  constexpr uint32_t kTracked = 0x20;
  uint32_t state = kTracked;
  for (size_t at = 0; at < text.size();) {
    const size_t end = std::min(text.find_first_of(",|+", at), text.size());
    const std::string_view name = text.substr(at, end - at);
    const auto known = std::ranges::find(kCtStateNames, name, &FlagName::name);
    if (known != kCtStateNames.end()) state |= known->bit;
    if (known == kCtStateNames.end() && !name.empty()) {
      return Error{kUsage, "--ct-state: there is no state '" + std::string(name) +
                               "'; there are new, est, rel, rpl and inv, with a comma between them"};
    }
    at = end + 1;
  }
  return state;
}

Result<TraceTracking> ReadTracking(const TraceArguments& arguments) {
  TraceTracking tracking{{}, arguments.ct_mark};
  for (const std::string& text : arguments.ct_states) {
    const auto state = ReadCtState(text);
    if (!state) return state.error();
    tracking.states.push_back(*state);
  }
  return tracking;
}

// One after the other: a packet by itself, or those of a file, the first of which has been read.
class Packets {
 public:
  Packets() = default;
  explicit Packets(std::vector<uint8_t> frame) : next_({std::move(frame), 0}) { next_->length = next_->bytes.size(); }
  Packets(PcapFile file, PcapFile::Packet first) : file_(std::move(file)), next_(std::move(first)) {}

  Result<std::optional<PcapFile::Packet>> Next() {
    if (!next_ && file_) return file_->Next();
    return std::exchange(next_, std::nullopt);
  }

 private:
  std::optional<PcapFile> file_;
  std::optional<PcapFile::Packet> next_;
};

Result<Packets> FromHex(const std::vector<std::string>& words) {
  std::string hex;
  for (const std::string& word : words) hex += (hex.empty() ? "" : " ") + word;
  const auto data = ParseHex(hex);
  if (!data) return Error{kUsage, "--hex: " + Explain(data.error(), hex)};
  return Packets({data->begin(), data->end()});
}

Result<Packets> FromFile(const std::string& path) {
  auto file = PcapFile::Open(path);
  if (!file) return file.error();
  auto first = file->Next();
  if (!first) return first.error();
  if (!*first) return Error{kUsage, "--pcap " + path + ": there is no packet in it"};
  return Packets(*std::move(file), **std::move(first));
}

// What can be known of the packets before the daemon is asked. Of fields that is nothing.
Result<Packets> OpenPackets(const TraceArguments& arguments) {
  const int ways = (arguments.fields ? 1 : 0) + (arguments.pcap ? 1 : 0) + (arguments.hex.empty() ? 0 : 1);
  if (ways != 1) return Error{kUsage, "trace: give the packet as fields, or with --hex, or packets with --pcap"};
  if (arguments.fields) return Packets();
  if (arguments.in_port.empty()) return Error{kUsage, "trace: name the port that packets come in by: --in-port"};
  return arguments.pcap ? FromFile(*arguments.pcap) : FromHex(arguments.hex);
}

Result<uint32_t> NumberOf(const std::string& port, const PortNames& names) {
  if (const auto number = names.Number(port)) return *number;
  return Error{"unknown_port", "there is no port " + port};
}

// Of both places where the port can be said.
Result<uint32_t> InPort(const TraceArguments& arguments, std::optional<uint32_t> said, const PortNames& names) {
  if (arguments.in_port.empty()) {
    if (said) return *said;
    return Error{kUsage, "trace: name the port that the packet comes in by: in_port(...) or --in-port"};
  }
  auto number = NumberOf(arguments.in_port, names);
  if (number && said && *said != *number) {
    return Error{kUsage, "trace: in_port of the fields and --in-port are not the same port"};
  }
  return number;
}

Result<const v1::Port*> UsablePort(const v1::Status& status, uint32_t number) {
  for (const v1::Port& port : status.ports()) {
    if (port.number() != number) continue;
    if (port.state() == "up") return &port;
    std::string why = "no packet comes in by " + port.name() + ": the port is " + port.state();
    if (!port.detail().empty()) why += ": " + port.detail();
    return Error{"port_not_up", why};
  }
  return Error{"unknown_port", "there is no port number " + std::to_string(number)};
}

// The whole table, as the snapshot's filter by port leaves out the flows that name none.
Result<void> Fill(Daemon& daemon, TraceTable& table) {
  const auto last = daemon.Walk({}, [&](const v1::Reply& reply) {
    for (const std::string& ufid : reply.deleted()) table.Remove(ufid);
    for (const v1::Flow& flow : reply.flows()) table.Put(flow);
    return true;
  });
  if (!last) return last.error();
  if (table.unreadable() > 0) {
    Complain(std::to_string(table.unreadable()) + " flows are left out: their matches are not understood");
  }
  return {};
}

// The port, and those by which a packet may come in a second time.
std::vector<uint32_t> InPorts(const v1::Status& status, uint32_t in_port) {
  std::vector<uint32_t> ports{in_port};
  for (const v1::Port& port : status.ports()) {
    if (port.number() != in_port && TunnelOf(port)) ports.push_back(port.number());
  }
  return ports;
}

// Where packets come in and what they have with them.
struct Start {
  uint32_t in_port = 0;
  Match beside;
  TraceTracking tracking;
};

int TraceAll(Daemon& daemon, const Global& global, const TraceArguments& arguments, const Start& start,
             Packets& packets) {
  const v1::Status& status = daemon.status();
  const auto port = UsablePort(status, start.in_port);
  if (!port) return Fail(port.error());
  const PortNumbers names(status.ports(), PortNumbers::Unknown::kNumbered);
  TraceTable table(names, InPorts(status, start.in_port));
  if (auto filled = Fill(daemon, table); !filled) return Fail(filled.error());
  const TracePlace place{**port, status.ports(), names, MissPolicy(**port, status.plugins()), start.tracking};
  for (size_t number = 1;; ++number) {
    const auto packet = packets.Next();
    if (!packet) return Fail(packet.error());
    if (!*packet) return kExitOk;
    const TracedPacket traced{number, (*packet)->bytes, (*packet)->length};
    const Trace trace = TracePacket(table, place, {(*packet)->bytes, start.beside});
    const bool printed = global.json
                             ? PrintJson(TraceJson(traced, place, trace))
                             : PrintBlock((number > 1 ? "\n" : "") + TraceText(traced, place, trace, arguments.bytes));
    if (!printed) return kExitOk;
  }
}

int RunTrace(const Global& global, const TraceArguments& arguments) {
  auto packets = OpenPackets(arguments);
  if (!packets) return Fail(packets.error());
  const auto tracking = ReadTracking(arguments);
  if (!tracking) return Fail(tracking.error());
  auto daemon = Daemon::Open(global);
  if (!daemon) return Fail(daemon.error());
  const PortNumbers names(daemon->status().ports(), PortNumbers::Unknown::kRefused);
  std::optional<uint32_t> said;
  Start start{0, {}, *tracking};
  if (arguments.fields) {
    auto read = ReadFields(*arguments.fields, names);
    if (!read && read.error().reason == "unknown_port") return Fail(read.error(), *arguments.fields);
    if (!read) {
      Complain(Explain(read.error(), *arguments.fields));
      return kExitUsage;
    }
    said = read->in_port;
    start.beside = read->beside;
    packets = Packets(std::move(read->frame));
  }
  const auto in_port = InPort(arguments, said, names);
  if (!in_port) return Fail(in_port.error());
  start.in_port = *in_port;
  return TraceAll(*daemon, global, arguments, start, *packets);
}

}  // namespace

void AddTraceCommand(const Cli& cli) {
  auto arguments = std::make_shared<TraceArguments>();
  CLI::App* trace = AddCommand(cli.app, "trace", "Which flow a packet would hit, and what would happen to it",
                               "  sluicectl trace 'in_port(p0),ipv4(src=10.0.0.1,dst=10.0.0.2),udp(dst=53)'\n"
                               "  sluicectl trace --in-port p0 --hex 'ffffffffffff 020000000001 0800 4500...'\n"
                               "  sluicectl trace --in-port p0 --pcap captured.pcap");
  trace->add_option("FIELDS", arguments->fields,
                    "The packet's fields, as in a match; what is not said follows from the others or has a default");
  trace->add_option("--pcap", arguments->pcap, "Trace each packet of a pcap or pcapng file (-: standard input)")
      ->type_name("FILE");
  trace->add_option("--in-port", arguments->in_port, "The port that packets come in by");
  trace
      ->add_option("--hex", arguments->hex,
                   "The frame from the Ethernet destination on, in hexadecimal; blanks and colons are read over")
      ->expected(1, CLI::detail::expected_max_vector_size);
  trace
      ->add_option("--ct-state", arguments->ct_states,
                   "What ct(...) finds: new, est, est,rpl, rel, inv, ... Repeat it for one ct after the other; the "
                   "last holds on. Without it as if there were no connection")
      ->type_name("STATE")
      ->allow_extra_args(false);
  trace->add_option("--ct-mark", arguments->ct_mark, "The mark of the connection that ct(...) finds")
      ->type_name("NUMBER");
  trace->add_flag("--bytes", arguments->bytes, "Print whole frames, also after each action that changes the packet");
  trace->callback(
      [cli, arguments] { cli.run = [&global = cli.global, arguments] { return RunTrace(global, *arguments); }; });
}

}  // namespace sluice::ctl
