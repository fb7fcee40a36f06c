// SPDX-License-Identifier: Apache-2.0
#include "daemon.h"

#include <spdlog/spdlog.h>
#include <sys/signalfd.h>
#include <sys/utsname.h>

#include <algorithm>
#include <csignal>
#include <random>
#include <utility>

#include "orphans.h"
#include "sluice/wire.h"

namespace sluice::core {
namespace {

// Messages taken from a socket in one turn: more would let the others wait.
constexpr int kPerTurn = 64;
constexpr int kPluginsPerTurn = 16;  // these can be large
constexpr int kIngressPerTurn = 128;
constexpr size_t kIngressBytes = size_t{256} << 10;  // about as much as goes on to a plugin in a turn
constexpr size_t kMaxEnvelope = 4;
constexpr uint64_t kCountNs = 100'000'000;
constexpr uint64_t kWarnNs = 60'000'000'000;

enum Item : uint8_t { kPlugins, kControl, kIngress, kEvents, kSignals, kMailbox, kFixedItems };

std::string NewEpoch() {
  std::random_device random;
  constexpr char kDigits[] = "0123456789abcdef";
  std::string epoch;
  for (int i = 0; i < 16; ++i) epoch += kDigits[random() % 16];
  return epoch;
}

std::string HostName() {
  utsname name{};
  return uname(&name) == 0 ? name.nodename : "localhost";
}

Endpoints EndpointsOf(const Config& config, const RunDir& run_dir) {
  Endpoints endpoints = EndpointsIn(run_dir.path());
  const auto take = [](const std::string& configured, std::string& to) {
    if (!configured.empty()) to = configured;
  };
  take(config.endpoints.ingress, endpoints.ingress);
  take(config.endpoints.control, endpoints.control);
  take(config.endpoints.events, endpoints.events);
  take(config.endpoints.plugins, endpoints.plugins);
  return endpoints;
}

CoreSettings SettingsOf(const Config& config, const Endpoints& endpoints) {
  CoreSettings settings;
  settings.node = config.node.empty() ? HostName() : config.node;
  settings.epoch = NewEpoch();
  settings.version = SLUICE_VERSION;
  settings.flows = {.max_flows = config.max_flows,
                    .max_flows_per_publisher = config.max_flows_per_publisher,
                    .max_tombstones = config.max_tombstones,
                    .max_publishers = config.max_publishers};
  settings.feed.packets = config.queue_packets;
  settings.snapshots.held = config.max_tombstones;
  settings.plugins.start_ms = config.plugin_start_ms;
  settings.plugins.stop_ms = config.plugin_stop_ms;
  settings.plugins.silence_ms = config.silence_ms;
  settings.plugins.hang_ms = config.hang_ms;
  settings.plugins.restart_ms = config.restart_ms;
  settings.plugins.restarts = config.restarts;
  settings.plugins.resync_ms = config.resync_ms;
  settings.plugins.rejoin_ms = config.rejoin_ms;
  settings.port_ms = config.port_ms;
  settings.heartbeat_ms = config.heartbeat_ms;
  settings.idle_grace_ms = config.idle_grace_ms;
  settings.publishers = config.max_publishers;
  settings.max_message = config.max_message;
  settings.socket_queues = {
      {"ingress", config.queue_ingress}, {"control", config.queue_control}, {"events", config.queue_events}};
  settings.endpoints = {{"ingress", endpoints.ingress},
                        {"control", endpoints.control},
                        {"events", endpoints.events},
                        {"plugins", endpoints.plugins}};
  return settings;
}

std::string_view View(const zmq::message_t& frame) { return {static_cast<const char*>(frame.data()), frame.size()}; }

}  // namespace

Result<std::unique_ptr<Daemon>> Daemon::Start(const Config& config) {
  auto run_dir = RunDir::Take(config.run_dir);
  if (!run_dir) return run_dir.error();
  const BusLimits limits{.ingress = static_cast<int>(config.queue_ingress),
                         .control = static_cast<int>(config.queue_control),
                         .events = static_cast<int>(config.queue_events),
                         .handshake_ms = static_cast<int>(config.handshake_ms),
                         .message = config.max_message,
                         .connections = config.max_connections};
  auto bus = Bus::Open(EndpointsOf(config, *run_dir), limits);
  if (!bus) return bus.error();
  sigset_t ends;
  sigemptyset(&ends);
  sigaddset(&ends, SIGTERM);
  sigaddset(&ends, SIGINT);
  UniqueFd signals(signalfd(-1, &ends, SFD_CLOEXEC | SFD_NONBLOCK));
  if (!signals) return Error{"no_descriptors", "no signalfd", 0, 0};
  return std::unique_ptr<Daemon>(new Daemon(config, std::move(*run_dir), std::move(*bus), std::move(signals)));
}

Daemon::Daemon(const Config& config, RunDir run_dir, std::unique_ptr<Bus> bus, UniqueFd signals)
    : run_dir_(std::move(run_dir)),
      bus_(std::move(bus)),
      signals_(std::move(signals)),
      drain_ns_((2ULL * config.plugin_stop_ms + 1'000) * 1'000'000) {
  const Endpoints endpoints = EndpointsOf(config, run_dir_);
  launcher_ = std::make_unique<PlaceLauncher>(
      LaunchPlace{.run_dir = run_dir_.path(),
                  .copy_dir = run_dir_.ModuleDir(),
                  .object_dir = FirstExisting(InstalledDirs(config.object_dir, "SLUICE_OBJECT_DIR", "bpf")),
                  .endpoint = endpoints.plugins,
                  .thread_endpoint = Bus::kThreadEndpoint,
                  .zmq_context = bus_->context().handle(),
                  .host_program = ProgramDir() + "/sluice-plugin-host",
                  .log_level = config.log_level,
                  .orphan_ms = config.orphan_ms},
      mailbox_, watches_);
  Outlet outlet{
      .publish = [this](std::string_view topic, const std::string& payload) { return bus_->Publish(topic, payload); },
      .to_plugin = [this](const std::string& identity,
                          const v1::ToPlugin& message) { return bus_->ToPlugin(identity, Encode(message)); },
      .connections =
          [this] {
            CountConnections();
            return bus_->connections().open();
          }};
  core_ = std::make_unique<Core>(SettingsOf(config, endpoints), std::move(outlet), *launcher_,
                                 PluginPaths(InstalledDirs(config.plugin_dir, "SLUICE_PLUGIN_DIR", "plugins")));
  for (const PortConfig& port : config.ports) core_->AddConfigured(port.name, port.plugin, port.options);
  std::vector<std::pair<std::string, Result<PluginSpec>>> wanted;
  for (const PluginConfig& plugin : config.plugins) {
    wanted.emplace_back(plugin.name, core_->SpecOf(plugin.name, plugin.isolation,
                                                   plugin.keep_orphaned ? "keep" : "withdraw", plugin.options));
  }
  for (const Orphan& orphan : FindOrphans(run_dir_.path())) TakeOver(orphan, wanted, config.plugin_stop_ms);
  for (auto& [name, spec] : wanted) core_->LoadConfigured(name, std::move(spec));
}

// Or ends it, where the configuration has that plugin otherwise by now.
void Daemon::TakeOver(const Orphan& orphan, const std::vector<std::pair<std::string, Result<PluginSpec>>>& wanted,
                      uint32_t stop_ms) {
  const std::string& name = orphan.spec.name;
  const bool changed = std::any_of(wanted.begin(), wanted.end(), [&](const auto& plugin) {
    const Result<PluginSpec>& spec = plugin.second;
    return spec && spec->name == name && !(*spec == orphan.spec);
  });
  if (changed) {
    spdlog::info("plugin {}: process {} of an earlier daemon runs it with other settings, and is ended", name,
                 orphan.pid);
    return EndOrphan(run_dir_.path(), orphan, stop_ms);
  }
  if (auto adopted = core_->plugins().Adopt(orphan); !adopted) spdlog::error("{}", adopted.error().detail);
}

void Daemon::Run() {
  spdlog::info("sluiced {} runs in {}", SLUICE_VERSION, run_dir_.path());
  while (!drained_ && (drain_until_ == 0 || MonotonicNs() < drain_until_)) Turn();
  core_->Turn();
  spdlog::info("sluiced ends");
}

void Daemon::Wait(std::vector<zmq::pollitem_t>& items) {
  items.assign(kFixedItems, {});
  items[kPlugins] = {bus_->plugins().handle(), 0, ZMQ_POLLIN, 0};
  items[kControl] = {bus_->control().handle(), 0, ZMQ_POLLIN, 0};
  items[kIngress] = {bus_->ingress().handle(), 0, ZMQ_POLLIN, 0};
  items[kEvents] = {bus_->events().handle(), 0, ZMQ_POLLIN, 0};
  items[kSignals] = {nullptr, signals_.get(), ZMQ_POLLIN, 0};
  items[kMailbox] = {nullptr, mailbox_->fd(), ZMQ_POLLIN, 0};
  for (const auto& [fd, call] : watches_.all()) items.push_back({nullptr, fd, ZMQ_POLLIN, 0});
  uint64_t until = core_->NextDeadline().value_or(UINT64_MAX);
  if (drain_until_ != 0) until = std::min(until, drain_until_);
  const uint64_t now = MonotonicNs();
  // Rounded up: a turn too early would be a turn for nothing.
  const uint64_t wait_ms = until <= now ? 0 : std::min<uint64_t>((until - now + 999'999) / 1'000'000, 60'000);
  try {
    zmq::poll(items, std::chrono::milliseconds(wait_ms));
  } catch (const zmq::error_t& error) {
    if (error.num() != EINTR) throw;
    for (auto& item : items) item.revents = 0;
  }
}

void Daemon::Turn() {
  std::vector<zmq::pollitem_t> items;
  Wait(items);
  if (items[kSignals].revents != 0) TakeSignals();
  if (items[kEvents].revents != 0) TakeSubscriptions();
  if (items[kMailbox].revents != 0) mailbox_->Run();
  if (items[kPlugins].revents != 0) TakePlugins();
  if (items[kControl].revents != 0) TakeControl();
  if (items[kIngress].revents != 0) TakeIngress();
  CallWatches(items);
  if (MonotonicNs() >= count_at_ns_) CountConnections();
  core_->Turn();
}

void Daemon::CountConnections() {
  const uint64_t now = MonotonicNs();
  count_at_ns_ = now + kCountNs;
  if (!bus_->connections().Count(core_->counters())) return;
  if (warned_ns_ != 0 && now - warned_ns_ < kWarnNs) return;
  warned_ns_ = now;
  spdlog::warn("connections are refused: an endpoint has as many as it may (limits.max_connections, open files)");
}

void Daemon::CallWatches(const std::vector<zmq::pollitem_t>& items) {
  for (size_t i = kFixedItems; i < items.size(); ++i) {
    if (items[i].revents == 0) continue;
    auto watch = watches_.all().find(items[i].fd);
    if (watch == watches_.all().end()) continue;
    const auto call = watch->second;  // it may remove itself
    call();
  }
}

void Daemon::TakeSignals() {
  signalfd_siginfo info{};
  while (read(signals_.get(), &info, sizeof(info)) == sizeof(info)) {
    if (drain_until_ != 0) {
      spdlog::warn("asked to end again: not waiting for plugins");
      drained_ = true;
      continue;
    }
    spdlog::info("asked to end: plugins are told to stop");
    drain_until_ = MonotonicNs() + drain_ns_;
    core_->plugins().StopAll([this] { drained_ = true; });
  }
}

void Daemon::TakeSubscriptions() {
  zmq::message_t frame;
  for (int i = 0; i < kPerTurn && bus_->events().recv(frame, zmq::recv_flags::dontwait); ++i) {
    const std::string_view said = View(frame);
    if (said.empty() || (said.front() != '\0' && said.front() != '\1')) continue;
    core_->OnSubscription(said.substr(1), said.front() == '\1');
  }
}

void Daemon::TakePlugins() {
  zmq::message_t frame;
  for (int i = 0; i < kPluginsPerTurn && bus_->plugins().recv(frame, zmq::recv_flags::dontwait); ++i) {
    const std::string identity(View(frame));
    while (frame.more() && bus_->plugins().recv(frame, zmq::recv_flags::dontwait)) {
      // A delimiter may stand in between; the message is the last frame.
    }
    core_->OnPlugin(identity, View(frame));
  }
}

void Daemon::TakeControl() {
  zmq::message_t frame;
  for (int i = 0; i < kPerTurn && bus_->control().recv(frame, zmq::recv_flags::dontwait); ++i) {
    std::vector<std::string> envelope;
    while (frame.more()) {
      if (envelope.size() < kMaxEnvelope) envelope.emplace_back(View(frame));
      if (!bus_->control().recv(frame, zmq::recv_flags::dontwait)) break;
    }
    if (envelope.empty()) continue;
    const bool json = EncodingOf(View(frame)) == Encoding::json;
    core_->OnControl(View(frame), [this, envelope = std::move(envelope), json](const v1::Reply& reply) {
      Answer(envelope, json, reply);
    });
  }
}

void Daemon::Answer(const std::vector<std::string>& envelope, bool json, const v1::Reply& reply) {
  const auto flags = zmq::send_flags::dontwait;
  bool sent = true;
  try {
    for (const std::string& part : envelope) {
      sent = sent && bus_->control().send(zmq::buffer(part), flags | zmq::send_flags::sndmore).has_value();
    }
    const std::string payload = Encode(reply, json ? Encoding::json : Encoding::protobuf);
    sent = sent && bus_->control().send(zmq::buffer(payload), flags).has_value();
  } catch (const zmq::error_t& error) {
    if (error.num() != EHOSTUNREACH) throw;
    sent = false;
  }
  if (!sent) core_->counters().Add("replies_dropped");
}

void Daemon::TakeIngress() {
  zmq::message_t topic;
  zmq::message_t payload;
  size_t bytes = 0;
  for (int i = 0; i < kIngressPerTurn && bytes < kIngressBytes; ++i) {
    if (!bus_->ingress().recv(topic, zmq::recv_flags::dontwait)) break;
    if (!topic.more()) {
      core_->OnIngress(View(topic), "");
      continue;
    }
    if (!bus_->ingress().recv(payload, zmq::recv_flags::dontwait)) break;
    bytes += payload.size();
    const bool more = payload.more();
    if (!more) core_->OnIngress(View(topic), View(payload));
    while (payload.more() && bus_->ingress().recv(payload, zmq::recv_flags::dontwait)) {
      // Read over what no message of ours has.
    }
    if (more) core_->OnIngress("(more than two frames)", "");
  }
}

}  // namespace sluice::core
