// SPDX-License-Identifier: Apache-2.0
#include "handler_rig.h"

#include <bpf/bpf.h>
#include <poll.h>

#include <cstring>
#include <stdexcept>

#include "sluice/flow_text.h"

namespace sluice::xdp {
namespace {

template <typename T>
T Must(Result<T> result) {
  if (!result) throw std::runtime_error(result.error().reason + ": " + result.error().detail);
  return *std::move(result);
}

std::string DeviceName(unsigned number) { return "p" + std::to_string(number); }

}  // namespace

std::string UfidOf(uint32_t flow) {
  std::string ufid(16, '\0');
  std::memcpy(ufid.data() + 7, &flow, sizeof flow);
  return ufid;
}

HandlerRig::HandlerRig(const test::Netns& netns, unsigned ports, const std::map<std::string, std::string>& options) {
  Handler::Parts parts;
  parts.reclaimer = Must(Reclaimer::Start());
  reclaimer_ = parts.reclaimer.get();
  parts.groups = Must(Groups::Create(*reclaimer_));
  parts.links = std::make_unique<LinkMonitor>(Must(LinkMonitor::Open()));
  parts.pass_maps = Must(PassMaps::Create());
  parts.kept = std::make_unique<KeptState>(run_dir_.path(), "xdp");
  parts.object_path = SLUICE_TEST_OBJECT;
  parts.defaults.miss = SLUICE_MISS_PASS;
  parts.log = [](int /*level*/, const std::string& /*line*/) {};
  handler_ = std::make_unique<Handler>(std::move(parts));
  handler_->SetWake([this] { woken_ = true; });
  for (unsigned number = 1; number <= ports; ++number) {
    pairs_.push_back(std::make_unique<test::Veth>(test::VethEnd{&netns, DeviceName(number)},
                                                  test::VethEnd{&netns, "far" + std::to_string(number)}));
    v1::Port& port = *batch_.add_changes()->mutable_port_put();
    port.set_name(DeviceName(number));
    port.set_number(number);
    for (const auto& [name, value] : options) (*port.mutable_options())[name] = value;
  }
  const auto reply = Send();
  for (const auto& port : reply.ports()) {
    if (port.state() != "up") throw std::runtime_error(port.name() + ": " + port.detail());
    const auto id = static_cast<uint32_t>(std::stoul(port.info().at("program")));
    programs_[port.number()] = UniqueFd(bpf_prog_get_fd_by_id(id));
  }
  if (programs_.size() != ports) throw std::runtime_error("not all ports were reported");
  reclaimer_->Drain();
}

HandlerRig::~HandlerRig() {
  if (!stopped_) Stop();
  handler_.reset();
  // What was kept is nobody's any more.
  KeptState kept(run_dir_.path(), "xdp");
  while (!kept.entries().empty()) (void)kept.Withdraw(std::string(kept.entries().begin()->first));
}

v1::FlowState& HandlerRig::NewChange(uint32_t flow, uint64_t instance, bool del) {
  v1::Change& change = *batch_.add_changes();
  change.set_seq(++seq_);
  v1::FlowState& state = del ? *change.mutable_del() : *change.mutable_put();
  state.set_ufid(UfidOf(flow));
  state.set_instance(instance);
  return state;
}

uint64_t HandlerRig::Put(uint32_t flow, const std::string& match, const std::string& actions, uint32_t priority,
                         uint64_t instance) {
  v1::FlowState& state = NewChange(flow, instance, false);
  state.set_packed_match(Must(ParseMatch(match)).Pack());
  state.set_actions(actions);
  state.set_priority(priority);
  return seq_;
}

uint64_t HandlerRig::Delete(uint32_t flow, uint64_t instance) {
  NewChange(flow, instance, true);
  return seq_;
}

void HandlerRig::DeletePort(unsigned number) {
  v1::Change& change = *batch_.add_changes();
  change.set_seq(++seq_);
  change.mutable_port_del()->set_name(DeviceName(number));
}

void HandlerRig::PacketOut(unsigned port, const std::string& data) {
  v1::Change& change = *batch_.add_changes();
  change.set_seq(++seq_);
  change.mutable_packet_out()->set_in_port(DeviceName(port));
  change.mutable_packet_out()->set_data(data);
}

v1::FromPlugin HandlerRig::Send() {
  v1::FromPlugin reply;
  handler_->OnBatch(batch_, reply);
  batch_.Clear();
  Take(reply);
  return reply;
}

v1::FromPlugin HandlerRig::Wait() {
  auto out = Next();
  Take(out);
  return out;
}

v1::FromPlugin HandlerRig::Next() {
  v1::FromPlugin out;
  if (std::exchange(woken_, false)) {
    handler_->OnWake(out);
  } else {
    pollfd waiting{reclaimer_->fd(), POLLIN, 0};
    if (poll(&waiting, 1, 5000) != 1) throw std::runtime_error("the reclaimer has nothing more to say");
    handler_->OnReadable(reclaimer_->fd(), out);
  }
  return out;
}

void HandlerRig::WaitUntil(const std::function<bool()>& done) {
  while (!done()) Wait();
}

void HandlerRig::Drain() {
  reclaimer_->Drain();
  Tick();
  while (woken_) Wait();
  reclaimer_->Drain();
}

void HandlerRig::Tick() {
  v1::FromPlugin out;
  handler_->OnTick(out);
  Take(out);
}

void HandlerRig::Stop(bool keep) {
  stopped_ = true;
  v1::FromPlugin last;
  handler_->OnStop(keep, last);
  Take(last);
  while (std::exchange(woken_, false)) {
    v1::FromPlugin more;
    handler_->OnWake(more);
    Take(more);
  }
}

void HandlerRig::Take(const v1::FromPlugin& out) {
  for (const auto& verdict : out.verdicts()) {
    const bool fresh = verdict.deleted() ? deleted.emplace(verdict.seq(), verdict).second
                                         : verdicts.emplace(verdict.seq(), verdict).second;
    if (!fresh) throw std::runtime_error("two verdicts of change " + std::to_string(verdict.seq()));
  }
  for (const auto& counted : out.stats()) {
    uint32_t flow = 0;
    std::memcpy(&flow, counted.ufid().data() + 7, sizeof flow);
    stats[flow] += counted.packets();
  }
  for (const auto& port : out.ports()) {
    for (const auto& [name, value] : port.counters()) counters_[port.number()][name] = value;
  }
}

}  // namespace sluice::xdp
