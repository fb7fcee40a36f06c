// SPDX-License-Identifier: Apache-2.0
#include "sluice/wire.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

namespace sluice {
namespace {

v1::Request SampleRequest() {
  v1::Request request;
  request.set_id((1ULL << 53) + 1);
  auto& flow = *request.mutable_flow_put()->add_flows();
  flow.set_match("in_port(p0)");
  flow.set_actions("p1");
  flow.set_packed_match(std::string("\0\x01\xff", 3));
  flow.set_packets(~0ULL);
  flow.add_offload()->set_state(v1::INSTALLED);
  return request;
}

TEST(Wire, BothEncodingsRoundTrip) {
  const auto request = SampleRequest();
  for (const auto encoding : {Encoding::protobuf, Encoding::json}) {
    const std::string payload = Encode(request, encoding);
    EXPECT_EQ(EncodingOf(payload), encoding);
    v1::Request back;
    ASSERT_TRUE(Decode(payload, back));
    EXPECT_EQ(back.SerializeAsString(), request.SerializeAsString());
  }
}

TEST(Wire, JsonHasTheSchemasNames) {
  const auto json = nlohmann::json::parse(Encode(SampleRequest(), Encoding::json));
  const auto& flow = json.at("flow_put").at("flows").at(0);
  EXPECT_EQ(flow.at("packets"), "18446744073709551615");
  EXPECT_EQ(flow.at("idle_timeout_ms"), 0);
  EXPECT_EQ(flow.at("packed_match"), "AAH/");
  EXPECT_EQ(flow.at("offload").at(0).at("state"), "INSTALLED");
}

TEST(Wire, JsonTakesNumbersForLongIntegers) {
  v1::Request request;
  ASSERT_TRUE(Decode(R"({"id":7,"flow_put":{"flows":[{"match":"","priority":5}],"publisher_seq":9}})", request));
  EXPECT_EQ(request.id(), 7U);
  EXPECT_EQ(request.flow_put().publisher_seq(), 9U);
}

TEST(Wire, AnUnknownJsonFieldIsNamed) {
  v1::Request request;
  const auto result = Decode(R"j({"flow_put":{"flows":[{"mach":"in_port(1)"}]}})j", request);
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().reason, "bad_payload");
  EXPECT_NE(result.error().detail.find("mach"), std::string::npos) << result.error().detail;
}

TEST(Wire, AnUnknownBinaryFieldIsIgnored) {
  v1::Request request;
  EXPECT_TRUE(Decode("\x08\x05\xfa\x7f\x01x", request));  // id 5, then field 2047
  EXPECT_EQ(request.id(), 5U);
}

TEST(Wire, MalformedPayloadsAreRefused) {
  std::string deep = "{\"flow_put\":";
  for (int i = 0; i < 100000; ++i) deep += "{\"flow_put\":";
  const std::string whole = Encode(SampleRequest());
  for (const std::string& payload :
       {std::string("{"), std::string("{]"), std::string("{\"id\":\"x\"}"), std::string("{\"id\":-1}"),
        std::string("{\"flow_put\":[]}"), std::string("{}{}"), std::string("\xff\xff\xff"), std::string("\x0a\x7f"),
        std::string("hello"), whole.substr(0, whole.size() - 3), deep}) {
    v1::Request request;
    const auto result = Decode(payload, request);
    ASSERT_FALSE(result) << payload.substr(0, 40);
    EXPECT_EQ(result.error().reason, "bad_payload");
    EXPECT_NE(result.error().detail.find("Request"), std::string::npos);
    EXPECT_EQ(result.error().detail.find('\n'), std::string::npos);
  }
}

TEST(Wire, TextThatIsNotUtf8IsRefused) {
  v1::FlowGet get;
  EXPECT_FALSE(Decode("\x0a\x02\xff\xfe", get));
}

TEST(Wire, OversizedPayloadsAreRefusedUnread) {
  v1::Request request;
  const auto result = Decode(std::string(kMaxPayload + 1, '\0'), request);
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().reason, "too_large");
}

TEST(Wire, AnEmptyPayloadIsAnEmptyMessage) {
  v1::FlowFlush flush;
  flush.set_port("p0");
  ASSERT_TRUE(Decode("", flush));
  EXPECT_EQ(flush.port(), "");
}

TEST(ToJson, IsForPeople) {
  v1::Flow flow;
  flow.set_ufid("u");
  flow.set_packets(1ULL << 60);
  auto& offload = *flow.add_offload();
  offload.set_plugin("xdp");
  offload.set_state(v1::SOFTWARE);
  const auto json = ToJson(flow);
  EXPECT_EQ(json.at("packets").get<uint64_t>(), 1ULL << 60);
  EXPECT_EQ(json.at("bytes"), 0);
  EXPECT_TRUE(json.at("used_ms").is_null());
  EXPECT_EQ(json.at("offload").at(0).at("state"), "software");
  EXPECT_EQ(json.at("offload").at(0).at("detail"), "");
  flow.set_used_ms(0);
  EXPECT_EQ(ToJson(flow).at("used_ms"), 0);
}

TEST(ToJson, MapsAndLists) {
  v1::Status status;
  (*status.mutable_counters())["accepted"] = 3;
  (*status.mutable_endpoints())["control"] = "ipc:///x";
  status.add_ports()->set_name("p0");
  const auto json = ToJson(status);
  EXPECT_EQ(json.at("counters"), nlohmann::json({{"accepted", 3}}));
  EXPECT_EQ(json.at("endpoints").at("control"), "ipc:///x");
  EXPECT_EQ(json.at("ports").at(0).at("name"), "p0");
  EXPECT_TRUE(json.at("ports").at(0).at("options").is_object());
  EXPECT_TRUE(json.at("plugins").is_array());
}

TEST(ToJson, AnEventHasNodeEpochAndItsBody) {
  v1::Events events;
  events.set_node("n");
  events.set_epoch("e");
  auto& event = *events.add_events();
  event.set_seq(4);
  event.set_topic("upcall");
  event.mutable_upcall()->set_data(std::string("\x00\xab\xff", 3));
  const auto json = EventToJson(events, event);
  EXPECT_EQ(json.at("node"), "n");
  EXPECT_EQ(json.at("epoch"), "e");
  EXPECT_EQ(json.at("seq"), 4);
  EXPECT_EQ(json.at("upcall").at("data"), "00abff");
  EXPECT_FALSE(json.contains("flow"));
}

}  // namespace
}  // namespace sluice
