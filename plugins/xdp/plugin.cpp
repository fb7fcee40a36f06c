// SPDX-License-Identifier: Apache-2.0
// The XDP plugin: what it needs to be able to start, and its descriptor.
#include <memory>
#include <string>

#include "flow_compiler.h"
#include "handler.h"
#include "interface/define_plugin.h"
#include "interface/late_session.h"
#include "interface/options.h"
#include "object.h"
#include "sluice/plugin_session.h"
#include "system.h"

namespace sluice::xdp {
namespace {

constexpr const char* kVersion = "0.1.0";

std::string Text(const char* text) { return text == nullptr ? "" : text; }

// Loads a small copy of the object, to see now rather than at the first port whether the kernel takes it, and what it
// can match and do.
Result<std::unique_ptr<Object>> Probe(const std::string& path) {
  ObjectOptions options;
  options.path = path;
  options.max_flows = 64;
  options.cache_entries = 64;
  options.subtable_entries = 64;
  return Object::Load(options);
}

v1::Capabilities CapabilitiesOf(const Object& object) {
  v1::Capabilities capabilities;
  capabilities.add_fields("in_port");
  for (const auto& field : object.key_layout().FieldNames()) capabilities.add_fields(field);
  for (const auto& action : SupportedActions(object.meta())) capabilities.add_actions(action);
  auto& limits = *capabilities.mutable_limits();
  limits["max_flows"] = SLUICE_MAX_FLOWS;
  limits["max_masks"] = object.meta().max_masks;
  limits["max_edits"] = object.meta().max_edits;
  limits["max_ports"] = SLUICE_PASS_PORTS;
  return capabilities;
}

class XdpPlugin {
 public:
  static Result<std::unique_ptr<XdpPlugin>> Start(const sluice_plugin_host& host) {
    auto parts = Prepare(host);
    if (!parts) return parts.error();
    const auto object = Probe(ObjectPath(parts->defaults.object, parts->object_path));
    if (!object) return object.error();
    auto settings = SessionSettings(host);
    settings.version = kVersion;
    settings.capabilities = CapabilitiesOf(**object);
    std::unique_ptr<XdpPlugin> plugin(new XdpPlugin);
    plugin->handler_ = std::make_unique<Handler>(std::move(*parts));
    XdpPlugin* self = plugin.get();
    // The session exists when the core has something for it; it is `self`'s until its thread has ended.
    plugin->handler_->SetWake([self] { self->session_.Wake(); });
    plugin->handler_->SetBusy([self](uint32_t ms) { self->session_.Busy(ms); });
    plugin->session_.Open(std::move(settings), *plugin->handler_);
    return plugin;
  }

 private:
  XdpPlugin() = default;

  static Result<Handler::Parts> Prepare(const sluice_plugin_host& host) {
    const std::string missing = MissingCapabilities({kCapBpf, kCapNetAdmin});
    if (!missing.empty()) {
      return Error{"no_permission", "the XDP plugin needs CAP_BPF and CAP_NET_ADMIN, and sluiced runs without " +
                                        missing + ": run it as root, or give its unit these capabilities"};
    }
    auto options = Options::FromJson(host.options);
    if (!options) return options.error();
    Handler::Parts parts;
    // Of the plugin alone; all others are defaults for its ports.
    Options::Map of_ports = options->values();
    of_ports.erase("max_passes");
    const auto depth = options->Number("max_passes", SLUICE_PASS_DEPTH, 1, SLUICE_PASS_HOPS);
    if (!depth) return depth.error();
    const auto defaults = PortSettings::Parse(of_ports, PortSettings{});
    if (!defaults) return defaults.error();
    parts.defaults = *defaults;
    parts.passes = {defaults->max_flows, defaults->cache, static_cast<uint32_t>(*depth)};
    parts.object_path = Text(host.object_dir) + "/" + std::string(kDefaultObject);
    parts.log = [log = host.log, arg = host.log_arg](int level, const std::string& line) {
      if (log != nullptr) log(arg, level, line.c_str());
    };
    auto reclaimer = Reclaimer::Start();
    if (!reclaimer) return reclaimer.error();
    parts.reclaimer = std::move(*reclaimer);
    auto groups = Groups::Create(*parts.reclaimer);
    if (!groups) return groups.error();
    parts.groups = std::move(*groups);
    auto maps = PassMaps::Create();
    if (!maps) return maps.error();
    parts.pass_maps = std::move(*maps);
    auto links = LinkMonitor::Open();
    if (!links) return links.error();
    parts.links = std::make_unique<LinkMonitor>(std::move(*links));
    parts.kept = std::make_unique<KeptState>(Text(host.run_dir), Text(host.name));
    const auto bpffs = EnsureBpffs();
    if (!bpffs) parts.log(SLUICE_LOG_WARN, bpffs.error().detail + "; a reload will interrupt forwarding");
    return parts;
  }

  std::unique_ptr<Handler> handler_;
  LateSession session_;
};

}  // namespace
}  // namespace sluice::xdp

SLUICE_DEFINE_PLUGIN(sluice::xdp::XdpPlugin, "xdp", sluice::xdp::kVersion)
