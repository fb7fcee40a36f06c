// SPDX-License-Identifier: Apache-2.0
#include "info_print.h"

#include <gtest/gtest.h>

#include "console.h"
#include "table.h"

namespace sluice::ctl {
namespace {

TEST(Table, AlignsWithoutBlanksAtTheEnd) {
  EXPECT_EQ(Table({{"NAME", "N", "INFO"}, {"p0", "10", ""}, {"eth1234", "2", "x"}}, 2),
            "  NAME     N   INFO\n"
            "  p0       10\n"
            "  eth1234  2   x\n");
  EXPECT_EQ(Table({}), "");
}

TEST(DurationText, ShowsTheLargestUnitFirst) {
  EXPECT_EQ(DurationText(0), "0s");
  EXPECT_EQ(DurationText(59999), "59s");
  EXPECT_EQ(DurationText(60000), "1m 0s");
  EXPECT_EQ(DurationText(86400000), "1d 0h 0m 0s");
}

TEST(ParseHex, ReadsOverBlanksAndColons) {
  EXPECT_EQ(*ParseHex("00:ff 0A\n0b"), std::string("\x00\xff\x0a\x0b", 4));
  EXPECT_EQ(*ParseHex(""), "");
}

TEST(ParseHex, SaysWhatIsWrong) {
  const auto bad = ParseHex("00fg");
  ASSERT_FALSE(bad);
  EXPECT_EQ(bad.error().column, 4U);
  EXPECT_NE(bad.error().detail.find("'g'"), std::string::npos);
  ASSERT_FALSE(ParseHex("0 0"));
  ASSERT_FALSE(ParseHex("000"));
  EXPECT_NE(ParseHex("000").error().detail.find("odd"), std::string::npos);
}

v1::Status Status() {
  v1::Status status;
  status.set_node("host1");
  status.set_version("0.1.0");
  status.set_epoch("e1");
  status.set_seq(17);
  status.set_uptime_ms(3725000);
  status.set_flows(2);
  (*status.mutable_endpoints())["events"] = "ipc:///run/sluice/events";
  (*status.mutable_endpoints())["control"] = "ipc:///run/sluice/control";
  v1::Port& port = *status.add_ports();
  port.set_name("p0");
  port.set_number(1);
  port.set_plugin("xdp");
  port.set_state("up");
  (*port.mutable_info())["mode"] = "native";
  (*port.mutable_info())["queues"] = "1";
  (*port.mutable_counters())["rx"] = 5;
  v1::Plugin& plugin = *status.add_plugins();
  plugin.set_name("xdp");
  plugin.set_version("0.1.0");
  plugin.set_state("running");
  plugin.set_isolation("process");
  plugin.set_installed(2);
  plugin.set_pid(77);
  v1::Publisher& publisher = *status.add_publishers();
  publisher.set_name("of-ctl");
  publisher.set_messages(3);
  publisher.set_missed(1);
  publisher.set_sent(9);
  publisher.set_accepted(2);
  publisher.set_refused(3);
  publisher.set_dropped(4);
  publisher.set_runs(1);
  (*status.mutable_rates())["events"] = 12;
  (*status.mutable_rates())["records"] = 7;
  (*status.mutable_connections())["events"] = 2;
  status.add_subscriptions("flow.");
  status.add_subscriptions("json:");
  v1::Queue& queue = *status.add_queues();
  queue.set_name("flows");
  queue.set_depth(2);
  queue.set_limit(10);
  status.add_queues()->set_name("socket.x");
  (*status.mutable_drops())["ingress.records"] = 4;
  (*status.mutable_counters())["flows_accepted"] = 2;
  return status;
}

TEST(StatusText, IsReadable) {
  EXPECT_EQ(StatusText(Status()),
            "node      host1\n"
            "version   0.1.0\n"
            "epoch     e1\n"
            "uptime    1h 2m 5s\n"
            "sequence  17\n"
            "flows     2\n"
            "a second  events 12, records 7\n"
            "monitors  2 connected, subscribed to flow., json:\n"
            "control   ipc:///run/sluice/control\n"
            "events    ipc:///run/sluice/events\n"
            "\n"
            "ports\n"
            "  NAME  NUMBER  PLUGIN  STATE  MODE    NOTE\n"
            "  p0    1       xdp     up     native\n"
            "\n"
            "plugins\n"
            "  NAME  VERSION  STATE    ISOLATION  INSTALLED  SOFTWARE  REFUSED  FAILED  PENDING  LAG  PID  NOTE\n"
            "  xdp   0.1.0    running  process    2          0         0        0       0        0    77\n"
            "\n"
            "publishers\n"
            "  NAME    SENT  ACCEPTED  REFUSED  DROPPED  MESSAGES  MISSED  RUNS\n"
            "  of-ctl  9     2         3        4        3         1       1\n"
            "\n"
            "queues\n"
            "  NAME      DEPTH  LIMIT\n"
            "  flows     2      10\n"
            "  socket.x  -      -\n"
            "\n"
            "dropped\n"
            "  ingress.records  4\n"
            "\n"
            "counters\n"
            "  flows_accepted  2\n");
}

TEST(PortTable, HasItsHeadingWithoutPorts) { EXPECT_EQ(PortTable({}), "NAME  NUMBER  PLUGIN  STATE  MODE  NOTE\n"); }

TEST(PortLine, SaysWhyAPortIsNotUp) {
  v1::Port port = Status().ports(0);
  EXPECT_EQ(PortLine(port), "p0: number 1, plugin xdp, up, mode native");
  (*port.mutable_info())["changed"] = "rx-gro on";
  EXPECT_EQ(PortLine(port), "p0: number 1, plugin xdp, up, mode native");
  EXPECT_EQ(PortChanges(port), "changed on the device: rx-gro on");
  port.set_state("gone");
  port.set_detail("the device vanished");
  (*port.mutable_info())["warning"] = "it was slow";
  EXPECT_EQ(PortLine(port), "p0: number 1, plugin xdp, gone, mode native: the device vanished; it was slow");
  (*port.mutable_options())["miss"] = "drop";
  EXPECT_EQ(PortDetails(port, 2),
            "  options  miss=drop\n"
            "  changed  rx-gro on\n"
            "  mode     native\n"
            "  queues   1\n"
            "  warning  it was slow\n");
  EXPECT_EQ(PortCounters(port, 4), "    rx  5\n");
}

TEST(PluginLine, SaysWhereItRuns) {
  EXPECT_EQ(PluginLine(Status().plugins(0)), "xdp: version 0.1.0, running (process, pid 77)");
  v1::Plugin failed;
  failed.set_name("xdp");
  failed.set_state("failed");
  failed.set_isolation("thread");
  failed.set_detail("there is no file");
  EXPECT_EQ(PluginLine(failed), "xdp: failed (thread), there is no file");
}

TEST(PluginDetails, NameWhatItCanDo) {
  v1::Plugin plugin = Status().plugins(0);
  plugin.set_path("/lib/xdp.so");
  plugin.mutable_capabilities()->add_fields("in_port");
  plugin.mutable_capabilities()->add_fields("eth_src");
  plugin.mutable_capabilities()->add_actions("output");
  (*plugin.mutable_capabilities()->mutable_limits())["max_masks"] = 128;
  EXPECT_EQ(PluginDetails(plugin, 2),
            "  path       /lib/xdp.so\n"
            "  fields     in_port,eth_src\n"
            "  actions    output\n"
            "  max_masks  128\n");
}

TEST(PluginDetails, NameWhatItBringsForOthers) {
  v1::Plugin plugin = Status().plugins(0);
  (*plugin.mutable_capabilities()->mutable_provides())["xdp.passes"] = "/lib/passes.bpf.o";
  plugin.mutable_capabilities()->add_actions("recirc");
  EXPECT_EQ(PluginDetails(plugin, 0),
            "brings   xdp.passes=/lib/passes.bpf.o\n"
            "fields   -\n"
            "actions  recirc\n");
}

TEST(PluginLine, SaysWhatAReloadCost) {
  v1::Plugin plugin = Status().plugins(0);
  plugin.mutable_absence()->set_cause("reload");
  plugin.mutable_absence()->set_ms(212);
  EXPECT_EQ(PluginLine(plugin),
            "xdp: version 0.1.0, running (process, pid 77), reload in 212 ms, a gap: the device did not forward");
  plugin.mutable_absence()->set_kept(true);
  EXPECT_EQ(PluginLine(plugin),
            "xdp: version 0.1.0, running (process, pid 77), reload in 212 ms, and the device went on forwarding");
  plugin.mutable_absence()->set_cause("restart");
  EXPECT_EQ(PluginLine(plugin), "xdp: version 0.1.0, running (process, pid 77)");
}

TEST(PluginDetails, TellOfItsLife) {
  v1::Plugin plugin = Status().plugins(0);
  plugin.set_orphan("keep");
  plugin.set_adopted(true);
  plugin.set_restarts(2);
  plugin.mutable_absence()->set_cause("restart");
  plugin.mutable_absence()->set_detail("its process exited with status 3");
  plugin.mutable_absence()->set_ms(700);
  EXPECT_EQ(PluginDetails(plugin, 0),
            "orphan     keep\n"
            "adopted    from an earlier daemon\n"
            "restarts   2\n"
            "last away  restart in 700 ms (its process exited with status 3), a gap: the device did not forward\n"
            "fields     -\n"
            "actions    -\n");
}

TEST(CaretPicture, IsTheTextAndTheCaret) {
  const Error error{"bad_match", "no field foo", 1, 3};
  EXPECT_EQ(CaretPicture(error, "a,foo(1)"), "\na,foo(1)\n  ^");
  EXPECT_EQ(CaretPicture(Error{"bad_ufid", "x"}, "a,foo(1)"), "");
}

}  // namespace
}  // namespace sluice::ctl
