// SPDX-License-Identifier: Apache-2.0
#include "flow_print.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <ctime>

#include "flow_line.h"
#include "sluice/flow_text.h"

namespace sluice::ctl {
namespace {

constexpr const char* kUfid = "6f0e8ac1-1d1c-4f0a-8b1e-0f3b6d3c9a01";
constexpr const char* kMatch =
    "recirc_id(0),in_port(p0),eth_type(0x0800),ipv4(dst=10.0.0.0/255.255.255.0,proto=17,frag=no),udp(dst=53)";

v1::Flow Flow() {
  v1::Flow flow;
  flow.set_ufid(kUfid);
  flow.set_match(kMatch);
  flow.set_actions("push_vlan(vid=5,pcp=0),p1");
  flow.set_packets(7);
  flow.set_bytes(448);
  flow.set_used_ms(412);
  v1::Offload& offload = *flow.add_offload();
  offload.set_plugin("xdp");
  offload.set_state(v1::INSTALLED);
  return flow;
}

TEST(FlowLineText, IsThatOfAnOvsDump) {
  EXPECT_EQ(FlowLineText(Flow()),
            "ufid:6f0e8ac1-1d1c-4f0a-8b1e-0f3b6d3c9a01,recirc_id(0),in_port(p0),eth_type(0x0800),"
            "ipv4(dst=10.0.0.0/255.255.255.0,proto=17,frag=no),udp(dst=53), packets:7, bytes:448, used:0.412s, "
            "offloaded:yes, dp:xdp, actions:push_vlan(vid=5,pcp=0),p1");
}

TEST(FlowLineText, SaysWhatIsNotUsual) {
  v1::Flow flow = Flow();
  flow.set_match("in_port(p0)");
  flow.set_actions("");
  flow.clear_used_ms();
  flow.set_priority(10);
  flow.set_idle_timeout_ms(1500);
  flow.set_hard_timeout_ms(60000);
  flow.set_tcp_flags(0x13);
  EXPECT_EQ(FlowLineText(flow), "ufid:" + std::string(kUfid) +
                                    ",in_port(p0), priority:10, idle_timeout:1.5, hard_timeout:60, packets:7, "
                                    "bytes:448, used:never, flags:SF., offloaded:yes, dp:xdp, actions:drop");
}

TEST(FlowLineText, SaysWhyAFlowIsNotOffloaded) {
  v1::Flow flow = Flow();
  flow.mutable_offload(0)->set_state(v1::REFUSED);
  flow.mutable_offload(0)->set_reason("unsupported_action");
  flow.mutable_offload(0)->set_detail("cannot do \"ct\"\nnor more");
  v1::Offload& other = *flow.add_offload();
  other.set_plugin("rte_flow");
  other.set_state(v1::PENDING);
  EXPECT_NE(FlowLineText(flow).find("used:0.412s, offloaded:no, refused:xdp:unsupported_action(\"cannot do 'ct' nor "
                                    "more\"), pending:rte_flow, actions:"),
            std::string::npos)
      << FlowLineText(flow);
}

TEST(FlowLineText, ASentenceCannotBreakTheLine) {
  v1::Flow flow = Flow();
  flow.mutable_offload(0)->set_state(v1::FAILED);
  flow.mutable_offload(0)->set_detail("a) b(");
  EXPECT_NE(FlowLineText(flow).find("failed:xdp(\"a] b[\"), actions:"), std::string::npos) << FlowLineText(flow);
  flow.mutable_offload(0)->set_detail("(a) b");
  EXPECT_NE(FlowLineText(flow).find("failed:xdp(\"(a) b\"), actions:"), std::string::npos) << FlowLineText(flow);
}

TEST(FlowLineText, OneDeviceIsEnoughToBeOffloaded) {
  v1::Flow flow = Flow();
  v1::Offload& other = *flow.add_offload();
  other.set_plugin("rte_flow");
  other.set_state(v1::FAILED);
  other.set_reason("no_memory");
  EXPECT_NE(FlowLineText(flow).find("offloaded:yes, dp:xdp, failed:rte_flow:no_memory, actions:"), std::string::npos)
      << FlowLineText(flow);
  other.set_state(v1::INSTALLED);
  EXPECT_NE(FlowLineText(flow).find("offloaded:yes, dp:xdp, dp:rte_flow, actions:"), std::string::npos);
}

TEST(FlowLineText, AFlowThatOnlySoftwareForwardsIsPartial) {
  v1::Flow flow = Flow();
  flow.mutable_offload(0)->set_plugin("rte_flow");
  flow.mutable_offload(0)->set_reason("partial");
  EXPECT_NE(FlowLineText(flow).find("offloaded:partial, dp:rte_flow, actions:"), std::string::npos)
      << FlowLineText(flow);
  v1::Offload& other = *flow.add_offload();
  other.set_plugin("xdp");
  other.set_state(v1::INSTALLED);
  EXPECT_NE(FlowLineText(flow).find("offloaded:yes, dp:rte_flow, dp:xdp, actions:"), std::string::npos)
      << FlowLineText(flow);
}

// Every state, quoted sentences included: what is printed goes back in, by sluicectl's reader and by the library's.
TEST(FlowLineText, PastesBack) {
  struct AnyPort : PortNames {
    [[nodiscard]] std::optional<uint32_t> Number(std::string_view name) const override { return name.back() - '0' + 1; }
    [[nodiscard]] std::optional<std::string> Name(uint32_t number) const override {
      return "p" + std::to_string(number - 1);
    }
  };
  for (int state = v1::PENDING; state <= v1::FAILED; ++state) {
    v1::Flow flow = Flow();
    flow.set_priority(3);
    flow.set_idle_timeout_ms(500);
    flow.set_hard_timeout_ms(7000);
    flow.set_tcp_flags(0x2);
    flow.mutable_offload(0)->set_state(static_cast<v1::OffloadState>(state));
    flow.mutable_offload(0)->set_reason("unsupported_field");
    flow.mutable_offload(0)->set_detail("a (sentence), with: actions:everything");
    const std::string text = FlowLineText(flow);

    const auto line = SplitFlow(text);
    ASSERT_TRUE(line) << text;
    const v1::Flow back = ToFlow(*line);
    EXPECT_EQ(back.ufid(), kUfid);
    EXPECT_EQ(back.match().substr(back.match().find_first_not_of(' ')), kMatch);
    EXPECT_EQ(back.actions().substr(back.actions().find_first_not_of(' ')), flow.actions());
    EXPECT_EQ(back.priority(), 3U);
    EXPECT_EQ(back.idle_timeout_ms(), 500U);
    EXPECT_EQ(back.hard_timeout_ms(), 7000U);

    const auto parsed = ParseFlow(text, AnyPort());
    ASSERT_TRUE(parsed) << Explain(parsed.error(), text);
    EXPECT_EQ(FormatMatch(parsed->match, AnyPort()), kMatch);
    EXPECT_EQ(FormatActions(parsed->actions, AnyPort()), flow.actions());
    EXPECT_EQ(parsed->hard_timeout_ms, 7000U);
  }
}

std::vector<std::string> Keys(const nlohmann::ordered_json& json) {
  std::vector<std::string> keys;
  for (const auto& [key, value] : json.items()) keys.push_back(key);
  return keys;
}

TEST(FlowJson, HasTheKeysThatScriptsRelyOn) {
  const auto json = FlowJson(Flow());
  EXPECT_EQ(Keys(json), (std::vector<std::string>{"ufid", "match", "actions", "priority", "packets", "bytes", "used_ms",
                                                  "tcp_flags", "offload"}));
  EXPECT_EQ(json.dump(),
            R"({"ufid":"6f0e8ac1-1d1c-4f0a-8b1e-0f3b6d3c9a01","match":")" + std::string(kMatch) +
                R"(","actions":"push_vlan(vid=5,pcp=0),p1","priority":0,"packets":7,"bytes":448,"used_ms":412,)"
                R"("tcp_flags":0,"offload":[{"plugin":"xdp","state":"installed","reason":"","detail":""}]})");
}

TEST(FlowJson, NeverUsedIsNull) {
  v1::Flow flow = Flow();
  flow.clear_used_ms();
  flow.set_idle_timeout_ms(1);
  const auto json = FlowJson(flow);
  EXPECT_TRUE(json["used_ms"].is_null());
  EXPECT_EQ(json["idle_timeout_ms"], 1);
  EXPECT_FALSE(json.contains("hard_timeout_ms"));
}

v1::Event Event(const std::string& topic) {
  v1::Event event;
  event.set_seq(42);
  event.set_topic_seq(7);
  event.set_time_ns(1700000000123456789);
  event.set_topic(topic);
  return event;
}

TEST(EventJson, HasNodeEpochAndTheBodyUnderItsName) {
  v1::Event event = Event("flow.del");
  event.set_cause("flush");
  *event.mutable_flow() = Flow();
  const auto json = EventJson("host1", "e1", event);
  EXPECT_EQ(Keys(json),
            (std::vector<std::string>{"node", "epoch", "seq", "topic_seq", "time_ns", "topic", "cause", "flow"}));
  EXPECT_EQ(json["time_ns"].dump(), "1700000000123456789");
  EXPECT_EQ(json["flow"]["ufid"], kUfid);
}

TEST(EventJson, EveryBodyIsThere) {
  v1::Event event = Event("upcall");
  event.mutable_upcall()->set_data("\x01\xff");
  EXPECT_EQ(EventJson("n", "e", event)["upcall"]["data"], "01ff");
  event.mutable_port()->set_name("p0");
  EXPECT_EQ(EventJson("n", "e", event)["port"]["name"], "p0");
  event.mutable_plugin()->set_name("xdp");
  EXPECT_EQ(EventJson("n", "e", event)["plugin"]["name"], "xdp");
  event.mutable_heartbeat()->set_seq(9);
  EXPECT_EQ(EventJson("n", "e", event)["heartbeat"]["seq"], 9);
  event.mutable_refused()->set_count(3);
  EXPECT_EQ(EventJson("n", "e", event)["refused"]["count"], 3);
}

TEST(EventText, IsOneLine) {
  setenv("TZ", "UTC", 1);
  tzset();
  v1::Event event = Event("flow.del");
  event.set_cause("idle_timeout");
  *event.mutable_flow() = Flow();
  EXPECT_EQ(EventText(event), "22:13:20.123456 #42 flow.del (idle_timeout) " + FlowLineText(Flow()));

  event = Event("upcall");
  event.mutable_upcall()->set_in_port("p0");
  event.mutable_upcall()->set_reason("miss");
  event.mutable_upcall()->set_data("0123456789abcd");
  event.mutable_upcall()->set_match("in_port(p0)");
  EXPECT_EQ(EventText(event), "22:13:20.123456 #42 upcall in_port:p0, reason:miss, length:14, in_port(p0)");

  event = Event("port.add");
  event.mutable_port()->set_name("p0");
  event.mutable_port()->set_number(1);
  event.mutable_port()->set_plugin("xdp");
  event.mutable_port()->set_state("up");
  (*event.mutable_port()->mutable_info())["mode"] = "native";
  EXPECT_EQ(EventText(event), "22:13:20.123456 #42 port.add p0: number 1, plugin xdp, up, mode native");

  event.set_topic("port.stats");
  EXPECT_EQ(EventText(event), "22:13:20.123456 #42 port.stats p0: nothing counted");
  (*event.mutable_port()->mutable_counters())["rx"] = 5;
  (*event.mutable_port()->mutable_counters())["drop"] = 0;
  EXPECT_EQ(EventText(event), "22:13:20.123456 #42 port.stats p0: rx=5");

  event = Event("refused");
  event.mutable_refused()->set_publisher("of-ctl");
  event.mutable_refused()->set_topic("flow.put");
  event.mutable_refused()->set_count(2);
  v1::Refusal& refusal = *event.mutable_refused()->add_refused();
  refusal.set_reason("bad_match");
  refusal.set_detail("no field foo");
  EXPECT_EQ(EventText(event), "22:13:20.123456 #42 refused of-ctl flow.put 2 refused; bad_match: no field foo");

  event = Event("publisher.gap");
  event.mutable_gap()->set_messages(2);
  event.mutable_gap()->set_records(9);
  event.mutable_gap()->mutable_publisher()->set_name("of-ctl");
  event.mutable_gap()->mutable_publisher()->set_sent(20);
  event.mutable_gap()->mutable_publisher()->set_accepted(10);
  event.mutable_gap()->mutable_publisher()->set_refused(1);
  event.mutable_gap()->mutable_publisher()->set_dropped(9);
  EXPECT_EQ(EventText(event),
            "22:13:20.123456 #42 publisher.gap of-ctl: 2 messages with 9 records never came; in all 20 sent, 10 "
            "accepted, 1 refused, 9 dropped");
  EXPECT_EQ(EventJson("n", "e", event)["gap"]["publisher"]["dropped"], 9);

  event = Event("heartbeat");
  event.mutable_heartbeat()->set_seq(41);
  EXPECT_EQ(EventText(event), "22:13:20.123456 #42 heartbeat newest #41");
}

}  // namespace
}  // namespace sluice::ctl
