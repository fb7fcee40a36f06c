// SPDX-License-Identifier: Apache-2.0
#include "core_rig.h"

#include <gtest/gtest.h>

#include "sluice/wire.h"

namespace sluice::core::test {
namespace {

class FakeRun : public PluginRun {
 public:
  explicit FakeRun(std::shared_ptr<FakeLauncher::Launched> launched) : launched_(std::move(launched)) {}
  ~FakeRun() override { launched_->gone = true; }
  FakeRun(const FakeRun&) = delete;
  FakeRun& operator=(const FakeRun&) = delete;
  void Stop() override { launched_->stopped = true; }
  bool Kill() override {
    launched_->killed = true;
    return launched_->spec.process;
  }

 private:
  std::shared_ptr<FakeLauncher::Launched> launched_;
};

}  // namespace

Result<std::unique_ptr<PluginRun>> FakeLauncher::Launch(const PluginSpec& spec, const std::string& token,
                                                        RunEvents events) {
  launched.push_back(std::make_shared<Launched>(Launched{.spec = spec, .token = token, .events = std::move(events)}));
  return std::unique_ptr<PluginRun>(std::make_unique<FakeRun>(launched.back()));
}

Result<std::unique_ptr<PluginRun>> FakeLauncher::Adopt(const Orphan& orphan, RunEvents events) {
  return Launch(orphan.spec, orphan.token, std::move(events));
}

CoreSettings CoreRig::Settings() {
  CoreSettings settings;
  settings.node = "n";
  settings.epoch = "e";
  settings.version = "0";
  return settings;
}

CoreRig::CoreRig(CoreSettings settings) {
  Outlet outlet{.publish =
                    [this](std::string_view, const std::string& payload) {
                      v1::Events message;
                      EXPECT_TRUE(Decode(payload, message));
                      for (v1::Event& event : *message.mutable_events()) events.push_back(std::move(event));
                      return true;
                    },
                .to_plugin =
                    [this](const std::string& identity, const v1::ToPlugin& message) {
                      if (plugins_reachable) to_plugins[identity].push_back(message);
                      return plugins_reachable;
                    },
                .connections = {}};
  core = std::make_unique<Core>(std::move(settings), std::move(outlet), launcher, PluginPaths({FIXTURES}),
                                [this] { return now_ns; });
  core->OnSubscription("flow.", true);
  for (const char* topic : {"port.", "plugin.", "refused"}) core->OnSubscription(topic, true);
}

void CoreRig::RequestLoad(const std::string& name, bool process) {
  v1::Request request;
  // Any file will do: nothing is really loaded. Each name has to be a file's.
  request.mutable_plugin_load()->set_name(name);
  request.mutable_plugin_load()->set_isolation(process ? "process" : "thread");
  AskLater(request);
}

void CoreRig::AskLater(const v1::Request& request) {
  core->OnRequest(request, [this](v1::Reply reply) { late_replies.push_back(std::move(reply)); });
}

v1::Plugin CoreRig::Plugin(const std::string& name) {
  v1::Request list;
  list.mutable_plugin_list();
  const v1::Reply reply = Ask(list);
  for (const v1::Plugin& plugin : reply.plugins()) {
    if (plugin.name() == name) return plugin;
  }
  return {};
}

void CoreRig::SayHello(const std::string& name, const std::string& token, const v1::Capabilities& capabilities) {
  v1::FromPlugin message;
  message.mutable_hello()->set_name(name);
  message.mutable_hello()->set_token(token);
  *message.mutable_hello()->mutable_capabilities() = capabilities;
  Say(name, message);
}

void CoreRig::LoadPlugin(const std::string& name, bool process, const v1::Capabilities& capabilities) {
  RequestLoad(name, process);
  launcher.last().events.started("1");
  SayHello(name, launcher.last().token, capabilities);
  ASSERT_EQ(late_replies.size(), 1U);
  EXPECT_TRUE(late_replies.back().ok()) << late_replies.back().detail();
  late_replies.clear();
}

void CoreRig::AddPort(const std::string& name, const std::string& plugin) {
  v1::Request request;
  request.mutable_port_add()->set_name(name);
  request.mutable_port_add()->set_plugin(plugin);
  core->OnRequest(request, [this](v1::Reply reply) { late_replies.push_back(std::move(reply)); });
  core->Turn();
  Batches(plugin);
  v1::FromPlugin message;
  message.add_ports()->set_name(name);
  message.mutable_ports(0)->set_state("up");
  Say(plugin, message);
  ASSERT_EQ(late_replies.size(), 1U);
  EXPECT_TRUE(late_replies.back().ok()) << late_replies.back().detail();
  late_replies.clear();
}

std::vector<v1::ToPlugin> CoreRig::Batches(const std::string& plugin, bool ack) {
  std::vector<v1::ToPlugin> batches;
  for (;;) {
    core->Turn();
    auto& waiting = to_plugins[plugin];
    if (waiting.empty()) return batches;
    v1::FromPlugin message;
    for (; !waiting.empty(); waiting.pop_front()) {
      message.set_ack(waiting.front().batch());
      batches.push_back(std::move(waiting.front()));
    }
    if (!ack) return batches;
    Say(plugin, message);
  }
}

std::vector<v1::Change> CoreRig::Changes(const std::string& plugin) {
  std::vector<v1::Change> changes;
  for (const v1::ToPlugin& batch : Batches(plugin)) {
    changes.insert(changes.end(), batch.changes().begin(), batch.changes().end());
  }
  return changes;
}

void CoreRig::Say(const std::string& plugin, const v1::FromPlugin& message) {
  core->OnPlugin(plugin, Encode(message));
  core->Turn();
}

void CoreRig::Judge(const std::string& plugin, const v1::Change& change, v1::OffloadState state,
                    const std::string& reason) {
  v1::FromPlugin message;
  v1::Verdict& verdict = *message.add_verdicts();
  verdict.set_ufid(change.put().ufid());
  verdict.set_instance(change.put().instance());
  verdict.set_seq(change.seq());
  verdict.set_state(state);
  verdict.set_reason(reason);
  Say(plugin, message);
}

void CoreRig::ConfirmDelete(const std::string& plugin, const v1::Change& change) {
  v1::FromPlugin message;
  v1::Verdict& verdict = *message.add_verdicts();
  verdict.set_ufid(change.del().ufid());
  verdict.set_instance(change.del().instance());
  verdict.set_seq(change.seq());
  verdict.set_deleted(true);
  Say(plugin, message);
}

void CoreRig::Count(const std::string& plugin, const v1::Change& put, uint64_t packets) {
  v1::FromPlugin message;
  v1::FlowStats& stats = *message.add_stats();
  stats.set_ufid(put.put().ufid());
  stats.set_instance(put.put().instance());
  stats.set_packets(packets);
  stats.set_bytes(packets * 100);
  stats.set_used_ns(now_ns);
  Say(plugin, message);
}

v1::Reply CoreRig::Ask(const v1::Request& request) {
  std::optional<v1::Reply> answer;
  core->OnRequest(request, [&](v1::Reply reply) { answer = std::move(reply); });
  core->Turn();
  EXPECT_TRUE(answer.has_value());
  return answer.value_or(v1::Reply());
}

v1::Reply CoreRig::AskJson(const std::string& json) {
  std::optional<v1::Reply> answer;
  core->OnControl(json, [&](v1::Reply reply) { answer = std::move(reply); });
  core->Turn();
  EXPECT_TRUE(answer.has_value());
  return answer.value_or(v1::Reply());
}

v1::Reply CoreRig::Put(const std::string& match, const std::string& actions, const std::string& ufid) {
  v1::Request request;
  v1::Flow& flow = *request.mutable_flow_put()->add_flows();
  flow.set_match(match);
  flow.set_actions(actions);
  flow.set_ufid(ufid);
  return Ask(request);
}

v1::Flow CoreRig::Get(const std::string& ufid) {
  v1::Request request;
  request.mutable_flow_get()->set_ufid(ufid);
  const v1::Reply reply = Ask(request);
  return reply.flows_size() == 1 ? reply.flows(0) : v1::Flow();
}

void CoreRig::Pass(uint64_t ms) {
  // In turns, as the loop takes them.
  for (uint64_t passed = 0; passed < ms; passed += 100) {
    now_ns += std::min<uint64_t>(ms - passed, 100) * 1'000'000;
    core->Turn();
  }
}

std::vector<v1::Event> CoreRig::Events() {
  core->Turn();
  std::vector<v1::Event> all(events.begin(), events.end());
  events.clear();
  return all;
}

std::vector<std::string> CoreRig::Topics() {
  std::vector<std::string> topics;
  for (const v1::Event& event : Events()) topics.push_back(event.topic());
  return topics;
}

}  // namespace sluice::core::test
