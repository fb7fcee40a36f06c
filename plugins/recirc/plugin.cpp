// SPDX-License-Identifier: Apache-2.0
// The recirc plugin: sees whether this kernel takes the programs of later passes, and announces them. The XDP plugin
// runs them, so that packets do not depend on this one's life.
#include <filesystem>
#include <memory>
#include <string>

#include "flow_compiler.h"
#include "interface/define_plugin.h"
#include "interface/options.h"
#include "passes.h"
#include "sluice/plugin_session.h"
#include "system.h"

namespace sluice::recirc {
namespace {

constexpr const char* kVersion = "0.1.0";
constexpr const char* kPasses = "sluice_passes.bpf.o";

// It has neither flows nor ports.
class Handler : public PluginSession::Handler {
 public:
  void OnBatch(const v1::ToPlugin& batch, v1::FromPlugin& reply) override {
    for (const auto& change : batch.changes()) {
      if (!change.has_port_put()) continue;
      v1::Port& port = *reply.add_ports();
      port.set_name(change.port_put().name());
      port.set_state("failed");
      port.set_detail("the recirc plugin has no ports: it brings actions for those of the xdp plugin");
    }
  }
  // Until the next one says what it brings, the programs that were brought go on.
  void OnStop(bool keep, v1::FromPlugin& last) override { last.set_kept(keep); }
};

// Loads a small copy, to see now what the kernel says of it, and what it can match and do.
Result<std::unique_ptr<xdp::PassObject>> Probe(const xdp::PassMaps& maps, const std::string& path) {
  xdp::PassOptions options;
  options.path = path;
  options.max_flows = 64;
  options.cache_entries = 64;
  return xdp::PassObject::Load(maps, options);
}

v1::Capabilities CapabilitiesOf(const xdp::PassObject& passes, const std::string& path) {
  v1::Capabilities capabilities;
  capabilities.set_no_flows(true);
  (*capabilities.mutable_provides())[xdp::kProvidesPasses] = path;
  // What a first pass does not have.
  for (const auto& name : passes.meta().key.FieldNames()) {
    if (name == "recirc_id" || name.starts_with("ct_") || name.starts_with("tun_")) capabilities.add_fields(name);
  }
  for (const auto& action : xdp::PassActions(passes.meta())) capabilities.add_actions(action);
  auto& limits = *capabilities.mutable_limits();
  limits["max_depth"] = SLUICE_PASS_DEPTH;
  limits["max_ports"] = SLUICE_PASS_PORTS;
  limits["max_steps"] = SLUICE_STEPS;
  limits["max_masks"] = passes.meta().max_masks;
  if (passes.meta().Can(SLUICE_ACTION_CT)) limits["max_ct_zone"] = passes.HasZones() ? UINT16_MAX : 0;
  return capabilities;
}

class RecircPlugin {
 public:
  static Result<std::unique_ptr<RecircPlugin>> Start(const sluice_plugin_host& host) {
    const std::string missing = xdp::MissingCapabilities({xdp::kCapBpf, xdp::kCapNetAdmin});
    if (!missing.empty()) {
      return Error{"no_permission", "the recirc plugin needs CAP_BPF and CAP_NET_ADMIN, and sluiced runs without " +
                                        missing + ": run it as root, or give its unit these capabilities"};
    }
    auto options = Options::FromJson(host.options);
    if (!options) return options.error();
    // As the xdp plugin takes its own: a path, or the name of a file in the object directory.
    const std::filesystem::path asked = options->Text("object", kPasses);
    if (const auto known = options->CheckUnknown(); !known) return known.error();
    const std::filesystem::path directory = host.object_dir == nullptr ? "" : host.object_dir;
    const std::string path = std::filesystem::absolute(directory / asked).lexically_normal();

    const auto maps = xdp::PassMaps::Create();
    if (!maps) return maps.error();
    const auto passes = Probe(**maps, path);
    if (!passes) return passes.error();
    if (!(*passes)->why_no_ct().empty() && host.log != nullptr) {
      host.log(host.log_arg, SLUICE_LOG_WARN, ("ct is refused: " + (*passes)->why_no_ct()).c_str());
    }
    auto settings = SessionSettings(host);
    settings.version = kVersion;
    settings.capabilities = CapabilitiesOf(**passes, path);
    std::unique_ptr<RecircPlugin> plugin(new RecircPlugin);
    plugin->session_ = std::make_unique<PluginSession>(std::move(settings), plugin->handler_);
    return plugin;
  }

 private:
  RecircPlugin() = default;

  Handler handler_;
  std::unique_ptr<PluginSession> session_;
};

}  // namespace
}  // namespace sluice::recirc

SLUICE_DEFINE_PLUGIN(sluice::recirc::RecircPlugin, "recirc", sluice::recirc::kVersion)
