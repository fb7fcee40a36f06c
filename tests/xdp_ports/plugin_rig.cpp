// SPDX-License-Identifier: Apache-2.0
#include "plugin_rig.h"

#include <dlfcn.h>

#include <algorithm>
#include <stdexcept>
#include <utility>
#include <zmq_addon.hpp>

#include "sluice/match.h"

namespace sluice::test {
namespace {

constexpr auto kPatience = std::chrono::seconds(20);

}  // namespace

PluginRig::PluginRig(const Netns& netns, const std::string& run_dir, const std::string& options)
    : netns_(netns),
      run_dir_(run_dir),
      options_(options),
      endpoint_("ipc://" + dir_.path() + "/plugins"),
      socket_(context_, zmq::socket_type::router) {
  socket_.set(zmq::sockopt::linger, 0);
  socket_.bind(endpoint_);
  library_ = dlopen(SLUICE_XDP_PLUGIN, RTLD_NOW | RTLD_LOCAL);
  if (library_ == nullptr) throw std::runtime_error(dlerror());
  descriptor_ = static_cast<const sluice_plugin_descriptor*>(dlsym(library_, SLUICE_PLUGIN_SYMBOL));
  if (descriptor_ == nullptr) throw std::runtime_error("no descriptor");
}

PluginRig::~PluginRig() {
  if (instance_ != nullptr) descriptor_->stop(instance_);
  dlclose(library_);
}

void PluginRig::Log(void* self, int /*level*/, const char* line) {
  auto* rig = static_cast<PluginRig*>(self);
  const std::lock_guard lock(rig->mutex_);
  rig->log_ += std::string(line) + "\n";
}

std::string PluginRig::log() const {
  const std::lock_guard lock(mutex_);
  return log_;
}

std::string PluginRig::Start() {
  host_ = {sizeof(host_),  0,       "xdp", options_.c_str(), endpoint_.c_str(), "token", run_dir_.c_str(),
           SLUICE_BPF_DIR, nullptr, this,  &PluginRig::Log};
  char error[512] = "";
  bye_ = false;
  hello_.Clear();
  int result = 0;
  netns_.Do([&] { result = descriptor_->start(&host_, &instance_, error, sizeof(error)); });
  if (result != 0) return *error != '\0' ? error : "no sentence";
  Until("hello", [&] { return hello_.token() == "token"; });
  return "";
}

void PluginRig::Stop(bool keep) {
  auto batch = NewBatch();
  batch.set_stop(true);
  batch.set_keep(keep);
  Send(batch);
  Until("bye", [&] { return bye_; });
  descriptor_->stop(std::exchange(instance_, nullptr));
}

v1::Port PluginRig::AddPort(const std::string& name, uint32_t number, const PortOptions& options) {
  numbers_[name] = number;
  auto batch = NewBatch();
  v1::Change& change = *batch.add_changes();
  change.set_seq(++seq_);
  v1::Port& port = *change.mutable_port_put();
  port.set_name(name);
  port.set_number(number);
  port.set_plugin("xdp");
  port.mutable_options()->insert(options.begin(), options.end());
  port_reports_.clear();
  Send(batch);
  return WaitForPort(name, [&](const v1::Port& report) { return report.number() == number; });
}

void PluginRig::DeletePort(const std::string& name) {
  auto batch = NewBatch();
  v1::Change& change = *batch.add_changes();
  change.set_seq(++seq_);
  change.mutable_port_del()->set_name(name);
  Send(batch);
  Until("the port's end", [&] { return acked_ >= batch.batch(); });
  numbers_.erase(name);
}

v1::Port PluginRig::WaitForPort(const std::string& name, const std::function<bool(const v1::Port&)>& satisfies) {
  std::optional<v1::Port> found;
  Until("a report of port " + name, [&] {
    while (!port_reports_.empty() && !found) {
      const v1::Port report = std::move(port_reports_.front());
      port_reports_.pop_front();
      if (report.name() == name && satisfies(report)) found = report;
    }
    return found.has_value();
  });
  return *found;
}

std::map<std::string, uint64_t> PluginRig::WaitForCounter(const std::string& port, const std::string& counter,
                                                          uint64_t least) {
  const auto deadline = Clock::now() + std::chrono::seconds(5);
  while (counters_[port][counter] < least && Clock::now() < deadline) Take(std::chrono::milliseconds(100));
  return counters_[port];
}

v1::Port PluginRig::WaitForState(const std::string& name, const std::string& state) {
  return WaitForPort(name, [&](const v1::Port& port) { return port.state() == state; });
}

Ufid PluginRig::UfidOf(const std::string& match) const {
  const auto parsed = ParseMatch(match, *this);
  if (!parsed) throw std::runtime_error(match + ": " + parsed.error().detail);
  return parsed->DeriveUfid();
}

v1::Verdict PluginRig::Put(const std::string& match, const std::string& actions, uint32_t priority, uint64_t instance) {
  auto batch = NewBatch();
  v1::Change& change = *batch.add_changes();
  change.set_seq(++seq_);
  v1::FlowState& put = *change.mutable_put();
  put.set_ufid(std::string(UfidOf(match).AsBytes()));
  put.set_packed_match(ParseMatch(match, *this)->Pack());
  put.set_actions(actions);
  put.set_priority(priority);
  put.set_instance(instance);
  Send(batch);
  const uint64_t seq = change.seq();
  Until("a verdict", [&] { return verdicts_.count(seq) != 0; });
  return verdicts_.at(seq);
}

void PluginRig::Delete(const std::string& match, uint64_t instance) {
  auto batch = NewBatch();
  v1::Change& change = *batch.add_changes();
  change.set_seq(++seq_);
  change.mutable_del()->set_ufid(std::string(UfidOf(match).AsBytes()));
  change.mutable_del()->set_instance(instance);
  Send(batch);
  const uint64_t seq = change.seq();
  Until("the flow's end", [&] { return verdicts_.count(seq) != 0 && verdicts_.at(seq).deleted(); });
}

void PluginRig::PacketOut(const std::string& port, const std::string& data, const std::optional<std::string>& actions) {
  auto batch = NewBatch();
  v1::Change& change = *batch.add_changes();
  change.set_seq(++seq_);
  v1::PacketOut& out = *change.mutable_packet_out();
  out.set_in_port(port);
  out.set_data(data);
  if (actions) out.set_actions(*actions);
  Send(batch);
  Until("the packet's way out", [&] { return acked_ >= batch.batch(); });
}

void PluginRig::Synced() {
  auto batch = NewBatch();
  batch.set_synced(true);
  Send(batch);
  Until("the end of the table", [&] { return acked_ >= batch.batch(); });
}

void PluginRig::Resync(const std::string& epoch) {
  epoch_ = epoch;
  auto batch = NewBatch();
  batch.set_resync(true);
  Send(batch);
  Until("the resync", [&] { return acked_ >= batch.batch(); });
}

void PluginRig::Extend(uint64_t serial, const std::string& object) {
  auto batch = NewBatch();
  v1::Extension& extension = *batch.add_changes()->mutable_extension();
  extension.set_plugin("recirc");
  extension.set_serial(serial);
  if (serial != 0) (*extension.mutable_provides())["xdp.passes"] = object;
  Send(batch);
  Until("the extension", [&] { return acked_ >= batch.batch(); });
}

bool PluginRig::AsksForResync(std::chrono::milliseconds timeout) {
  const auto deadline = Clock::now() + timeout;
  while (!asks_for_resync_ && Clock::now() < deadline) Take(std::chrono::milliseconds(50));
  return std::exchange(asks_for_resync_, false);
}

std::optional<v1::Upcall> PluginRig::NextUpcall(std::chrono::milliseconds timeout) {
  const auto deadline = Clock::now() + timeout;
  while (upcalls_.empty() && Clock::now() < deadline) {
    Take(std::chrono::ceil<std::chrono::milliseconds>(deadline - Clock::now()));
  }
  if (upcalls_.empty()) return std::nullopt;
  auto upcall = std::move(upcalls_.front());
  upcalls_.pop_front();
  return upcall;
}

v1::FlowStats PluginRig::WaitForStats(const std::string& match, uint64_t packets) {
  const std::string ufid(UfidOf(match).AsBytes());
  const auto deadline = Clock::now() + std::chrono::seconds(5);
  while (stats_[ufid].packets() < packets && Clock::now() < deadline) Take(std::chrono::milliseconds(100));
  return stats_[ufid];
}

std::optional<uint32_t> PluginRig::Number(std::string_view name) const {
  const auto found = numbers_.find(std::string(name));
  return found == numbers_.end() ? std::nullopt : std::optional(found->second);
}

std::optional<std::string> PluginRig::Name(uint32_t number) const {
  for (const auto& [name, its_number] : numbers_) {
    if (its_number == number) return name;
  }
  return std::nullopt;
}

v1::ToPlugin PluginRig::NewBatch() {
  v1::ToPlugin batch;
  batch.set_batch(++batch_);
  batch.set_epoch(epoch_);
  return batch;
}

void PluginRig::Send(const v1::ToPlugin& batch) {
  socket_.send(zmq::buffer(identity_), zmq::send_flags::sndmore);
  socket_.send(zmq::buffer(batch.SerializeAsString()), zmq::send_flags::none);
}

bool PluginRig::Take(std::chrono::milliseconds timeout) {
  zmq::pollitem_t item{socket_.handle(), 0, ZMQ_POLLIN, 0};
  if (zmq::poll(&item, 1, timeout) == 0) return false;
  std::vector<zmq::message_t> frames;
  if (!zmq::recv_multipart(socket_, std::back_inserter(frames)) || frames.size() != 2) return false;
  v1::FromPlugin message;
  if (!message.ParseFromArray(frames[1].data(), static_cast<int>(frames[1].size()))) {
    throw std::runtime_error("a message of the plugin cannot be read");
  }
  identity_ = frames[0].to_string();
  acked_ = std::max(acked_, message.ack());
  if (message.has_hello()) hello_ = message.hello();
  bye_ = bye_ || message.bye();
  asks_for_resync_ = asks_for_resync_ || message.resync();
  for (const auto& stats : message.stats()) {
    v1::FlowStats& sum = stats_[stats.ufid()];
    sum.set_packets(sum.packets() + stats.packets());
    sum.set_bytes(sum.bytes() + stats.bytes());
    sum.set_used_ns(stats.used_ns());
    sum.set_tcp_flags(sum.tcp_flags() | stats.tcp_flags());
  }
  for (const auto& verdict : message.verdicts()) verdicts_[verdict.seq()] = verdict;
  for (const auto& port : message.ports()) {
    auto& info = info_[port.name()];
    if (port.info_size() != 0) info = port.info();
    if (port.counters_size() != 0) counters_[port.name()] = {port.counters().begin(), port.counters().end()};
    port_reports_.push_back(port);
    *port_reports_.back().mutable_info() = info;  // as the core has it: a report without info leaves it as it was
  }
  for (const auto& upcall : message.upcalls()) upcalls_.push_back(upcall);
  return true;
}

void PluginRig::Until(const std::string& what, const std::function<bool()>& done) {
  const auto deadline = Clock::now() + kPatience;
  while (!done()) {
    if (Clock::now() > deadline) throw std::runtime_error(what + " did not come; the plugin's log:\n" + log());
    Take(std::chrono::milliseconds(100));
  }
}

}  // namespace sluice::test
