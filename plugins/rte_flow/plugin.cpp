// SPDX-License-Identifier: Apache-2.0
// The rte_flow plugin: starts DPDK and the poll-mode loop, and its descriptor.
#include <filesystem>
#include <memory>
#include <set>
#include <string>
#include <utility>

#include "eal.h"
#include "handler.h"
#include "interface/define_plugin.h"
#include "interface/late_session.h"
#include "interface/options.h"
#include "offload/full_plan.h"
#include "offload/pattern.h"
#include "sluice/plugin_session.h"
#include "soft/execute.h"

namespace sluice::rteflow {
namespace {

constexpr const char* kVersion = "0.1.0";
constexpr const char* kSoftwareNic = "/../pmd/librte_net_sluice.so";  // from the BPF objects' directory

class RteFlowPlugin {
 public:
  ~RteFlowPlugin() {
    session_.Close();
    handler_.reset();
    SilenceEal();
  }
  RteFlowPlugin(const RteFlowPlugin&) = delete;
  RteFlowPlugin& operator=(const RteFlowPlugin&) = delete;

  static Result<std::unique_ptr<RteFlowPlugin>> Start(const sluice_plugin_host& host) {
    const Log log = [call = host.log, arg = host.log_arg](int level, const std::string& line) {
      if (call != nullptr) call(arg, level, line.c_str());
    };
    auto parts = Prepare(host, log);
    if (!parts) return parts.error();
    auto settings = SessionSettings(host);
    settings.version = kVersion;
    settings.capabilities = WhatItCan();
    std::unique_ptr<RteFlowPlugin> plugin(new RteFlowPlugin);
    plugin->handler_ = std::make_unique<Handler>(*std::move(parts));
    RteFlowPlugin* self = plugin.get();
    plugin->handler_->SetWake([self] { self->session_.Wake(); });
    plugin->handler_->SetBusy([self](uint32_t ms) { self->session_.Busy(ms); });
    plugin->session_.Open(std::move(settings), *plugin->handler_);
    return plugin;
  }

 private:
  RteFlowPlugin() = default;

  static Result<Handler::Parts> Prepare(const sluice_plugin_host& host, const Log& log) {
    auto options = Options::FromJson(host.options);
    if (!options) return options.error();
    // The plugin's own are taken out, the rest are defaults for its ports.
    Options::Map rest = options->values();
    const auto own = [&](const char* name) { rest.erase(name); };
    const std::string eal = options->Text("eal", "");
    own("eal");
    const auto cpu = options->Choice("poll_cpu", {"any"}, "any");
    Datapath::Settings loop;
    if (!cpu) {
      const auto number = options->Number("poll_cpu", 0, 0, 1023);
      if (!number) return number.error();
      loop.cpu = static_cast<int>(*number);
    }
    own("poll_cpu");
    const auto idle = options->Number("idle_us", loop.idle_us, 0, 1'000'000);
    if (!idle) return idle.error();
    loop.idle_us = static_cast<uint32_t>(*idle);
    own("idle_us");
    const auto burst = options->Number("burst", loop.burst, 1, 512);
    if (!burst) return burst.error();
    loop.burst = static_cast<uint32_t>(*burst);
    own("burst");
    const auto defaults = PortSettings::Parse(rest, PortSettings{});
    if (!defaults) return defaults.error();

    const auto arguments = EalArguments(eal);
    if (auto started = StartEal(arguments, log); !started) return started.error();
    const std::string nic = std::string(host.object_dir == nullptr ? "" : host.object_dir) + kSoftwareNic;
    std::error_code failed;
    if (std::filesystem::exists(nic, failed)) {
      if (auto loaded = LoadDriver(nic); !loaded) log(SLUICE_LOG_WARN, loaded.error().detail);
    }
    auto datapath = Datapath::Start(loop);
    if (!datapath) return datapath.error();
    return Handler::Parts{*std::move(datapath), *defaults, log};
  }

  static v1::Capabilities WhatItCan() {
    v1::Capabilities capabilities;
    capabilities.add_fields("in_port");
    for (const auto& field : MatchableFields()) capabilities.add_fields(field);
    // What devices do, and what software does where they do not.
    std::set<std::string> actions;
    for (auto& action : OffloadableActions()) actions.insert(std::move(action));
    for (auto& action : soft::ExecutableActions()) actions.insert(std::move(action));
    for (const auto& action : actions) capabilities.add_actions(action);
    return capabilities;
  }

  std::unique_ptr<Handler> handler_;
  LateSession session_;
};

}  // namespace
}  // namespace sluice::rteflow

SLUICE_PLUGIN_NEEDS_PROCESS;
SLUICE_DEFINE_PLUGIN(sluice::rteflow::RteFlowPlugin, "rte_flow", sluice::rteflow::kVersion)
