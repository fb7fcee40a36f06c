// SPDX-License-Identifier: Apache-2.0
// Everything that the daemon's core is told by its sockets, in any order: requests, publications, what plugins say,
// subscriptions; with time and the ends of plugins' code in between. Whatever comes, what the core says can be read, is
// in order and is answered once, and it ends when it is told to.
#include <spdlog/spdlog.h>

#include <map>
#include <memory>
#include <set>
#include <string>

#include "core.h"
#include "fuzz.h"
#include "sluice/utf8.h"
#include "sluice/wire.h"

namespace sluice::core {
namespace {

constexpr uint64_t kMs = 1'000'000;
constexpr uint64_t kMaxPassMs = 60'000;
constexpr uint32_t kMaxFlows = 16;

// Starts nothing: a plugin's code begins and ends when the input says so.
class Launches : public Launcher {
 public:
  struct Code {
    bool process = false;
    bool stopped = false;
    std::string token;
    RunEvents events;
  };

  Result<std::unique_ptr<PluginRun>> Launch(const PluginSpec& spec, const std::string& token,
                                            RunEvents events) override {
    auto code = std::make_shared<Code>(Code{spec.process, false, token, std::move(events)});
    codes_[spec.name] = code;
    return std::unique_ptr<PluginRun>(std::make_unique<Run>(std::move(code)));
  }
  Result<std::unique_ptr<PluginRun>> Adopt(const Orphan& orphan, RunEvents events) override {
    return Launch(orphan.spec, orphan.token, std::move(events));
  }
  // Null: never launched, or gone.
  std::shared_ptr<Code> Find(std::string_view name) {
    const auto found = codes_.find(name);
    return found == codes_.end() ? nullptr : found->second.lock();
  }
  std::vector<std::string> Names() const {
    std::vector<std::string> names;
    for (const auto& [name, code] : codes_) {
      if (!code.expired()) names.push_back(name);
    }
    return names;
  }

 private:
  class Run : public PluginRun {
   public:
    explicit Run(std::shared_ptr<Code> code) : code_(std::move(code)) {}
    void Stop() override { code_->stopped = true; }
    bool Kill() override { return code_->process; }

   private:
    std::shared_ptr<Code> code_;
  };
  std::map<std::string, std::weak_ptr<Code>, std::less<>> codes_;
};

// In JSON it is the same, and takes ten times as long.
template <typename Message>
void CheckReadable(const Message& message) {
  Message again;
  const auto read = Decode(Encode(message), again);
  if (!read) std::fprintf(stderr, "%s: %s\n", read.error().detail.c_str(), message.ShortDebugString().c_str());
  FUZZ_CHECK(read);
}

class Rig {
 public:
  Rig()
      : core_(Settings(),
              Outlet{.publish = [this](auto topic, const auto& text) { return OnPublished(topic, text); },
                     .to_plugin = [this](const auto& to, const auto& what) { return OnTold(to, what); },
                     .connections = {}},
              launches_, PluginPaths({FUZZ_PLUGINS}), [this] { return now_ns_; }) {}

  void Step(std::string_view step) {
    if (step.empty()) return;
    const char what = step.front();
    step.remove_prefix(1);
    const std::string name(what == 'c' ? "" : fuzz::TakeWord(step));
    switch (what) {
      case 'c':
        Ask(step);
        break;
      case 'i':
        core_.OnIngress(name, step);
        break;
      case 'p':
        core_.OnPlugin(name, step);
        break;
      case 's':
      case 'u':
        core_.OnSubscription(name, what == 's');
        break;
      case 'a':
        Obey(name);
        break;
      case 'b':
        if (const auto code = launches_.Find(name)) code->events.started(std::string(step));
        break;
      case 'o':
        (void)core_.plugins().Adopt(OrphanOf(name, std::string(step)));
        break;
      case 'e':
        if (const auto code = launches_.Find(name)) code->events.ended(std::string(step));
        break;
      case 't':
        Pass(std::strtoul(name.c_str(), nullptr, 10));
        break;
      default:
        break;
    }
    core_.Turn();
  }

  void End() {
    const v1::Status status = Answer(R"({"status":{}})").status();
    FUZZ_CHECK(status.flows() <= kMaxFlows);
    CheckSnapshot(status.flows());
    bool stopped = false;
    core_.plugins().StopAll([&] { stopped = true; });
    for (int seconds = 0; !stopped && seconds < 60; ++seconds) {
      Pass(1'000);
      for (const std::string& name : launches_.Names()) {
        const auto code = launches_.Find(name);
        if (code != nullptr && code->stopped) code->events.ended("");
      }
    }
    FUZZ_CHECK(stopped);
    core_.Turn();
  }

 private:
  static CoreSettings Settings() {
    CoreSettings settings;
    settings.node = "n";
    settings.epoch = "e";
    settings.version = "0";
    settings.flows = {.max_flows = kMaxFlows, .max_tombstones = 4};
    settings.feed.window = 2;
    settings.feed.batch = 3;
    settings.feed.packets = 4;
    settings.snapshots.walks = 2;
    settings.snapshots.chunk = 3;
    settings.heartbeat_ms = 20'000;  // they take most of the time otherwise
    settings.publishers = 2;
    settings.max_message = 4'096;
    return settings;
  }

  // From a file in JSON, whose reader lets nothing but UTF-8 pass.
  static Orphan OrphanOf(const std::string& name, const std::string& token) {
    const PluginSpec spec{
        .name = Utf8(name), .path = FUZZ_PLUGINS, .process = true, .options = {}, .keep_orphaned = true};
    return {.spec = spec, .token = token, .version = "1", .pid = 1};
  }

  bool OnPublished(std::string_view topic, const std::string& payload) {
    if (topic.starts_with(topic::kJsonPrefix)) {
      FUZZ_CHECK(EncodingOf(payload) == Encoding::json);
      return true;
    }
    v1::Events message;
    FUZZ_CHECK(Decode(payload, message));
    for (const v1::Event& event : message.events()) {
      FUZZ_CHECK(event.seq() > told_);
      told_ = event.seq();
      FUZZ_CHECK(topic == event.topic());
    }
    return true;
  }

  bool OnTold(const std::string& identity, const v1::ToPlugin& message) {
    CheckReadable(message);
    waiting_[identity].push_back(message);
    return identity != "full";
  }

  void Ask(std::string_view payload) {
    core_.OnControl(payload, [answered = std::make_shared<bool>(false)](const v1::Reply& reply) {
      FUZZ_CHECK(!*answered);
      *answered = true;
      CheckReadable(reply);
      FUZZ_CHECK(reply.ok() || !reply.reason().empty());
    });
  }

  v1::Reply Answer(std::string_view payload) {
    v1::Reply answer;
    bool answered = false;
    core_.OnControl(payload, [&](v1::Reply reply) {
      answer = std::move(reply);
      answered = true;
    });
    FUZZ_CHECK(answered && answer.ok());
    CheckReadable(answer);
    return answer;
  }

  void CheckSnapshot(uint64_t flows) {
    std::set<std::string> seen;
    v1::Reply reply;
    while (!reply.done()) {
      reply = Answer(R"({"snapshot":{"after":)" + std::to_string(reply.cursor()) + "}}");
      for (const v1::Flow& flow : reply.flows()) seen.insert(flow.ufid());
    }
    FUZZ_CHECK(seen.size() == flows);
  }

  // The plugin does what it was told, and says so.
  void Obey(const std::string& identity) {
    v1::FromPlugin message;
    for (const v1::ToPlugin& batch : std::exchange(waiting_[identity], {})) {
      message.set_ack(batch.batch());
      message.set_bye(message.bye() || batch.stop());
      for (const v1::Change& change : batch.changes()) {
        if (change.has_port_put()) {
          message.add_ports()->set_name(change.port_put().name());
          message.mutable_ports(message.ports_size() - 1)->set_state("up");
        }
        if (!change.has_put() && !change.has_del()) continue;
        const v1::FlowState& flow = change.has_put() ? change.put() : change.del();
        v1::FlowStats& stats = *message.add_stats();
        stats.set_ufid(flow.ufid());
        stats.set_instance(flow.instance());
        stats.set_packets(1);
        stats.set_used_ns(now_ns_);
        v1::Verdict& verdict = *message.add_verdicts();
        verdict.set_ufid(flow.ufid());
        verdict.set_instance(flow.instance());
        verdict.set_seq(change.seq());
        verdict.set_deleted(change.has_del());
        verdict.set_state(change.has_put() ? v1::INSTALLED : v1::OFFLOAD_STATE_UNSPECIFIED);
      }
    }
    core_.OnPlugin(identity, Encode(message));
  }

  void Pass(uint64_t ms) {
    const uint64_t until = now_ns_ + std::min(ms, kMaxPassMs) * kMs;
    while (now_ns_ < until) {
      now_ns_ = std::min(until, std::max(core_.NextDeadline().value_or(until), now_ns_ + kMs));
      core_.Turn();
    }
  }

  uint64_t now_ns_ = 1'000'000 * kMs;
  uint64_t told_ = 0;  // the newest sequence number
  std::map<std::string, std::vector<v1::ToPlugin>> waiting_;
  Launches launches_;
  Core core_;
};

}  // namespace
}  // namespace sluice::core

extern "C" int LLVMFuzzerInitialize(int* /*argc*/, char*** /*argv*/) {
  spdlog::set_level(spdlog::level::off);
  return 0;
}

// Steps (see fuzz.h): "cREQUEST", "iTOPIC PAYLOAD", "pIDENTITY MESSAGE", "sPREFIX" and "uPREFIX" of a subscription,
// "aNAME" for a plugin that does as it was told, "bNAME VERSION" and "eNAME ERROR" for its code's begin and end, "oNAME
// TOKEN" for a process that another core left, "tMILLISECONDS".
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  sluice::core::Rig rig;
  for (const std::string_view step : sluice::fuzz::Steps(sluice::fuzz::Text(data, size))) rig.Step(step);
  rig.End();
  return 0;
}
