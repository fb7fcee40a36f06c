// SPDX-License-Identifier: Apache-2.0
#include "port.h"

#include <bpf/bpf.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <chrono>
#include <ctime>
#include <filesystem>
#include <thread>
#include <utility>

#include "interface/options.h"
#include "packet_out.h"
#include "system.h"
#include "table_serial.h"

namespace sluice::xdp {
namespace {

using Clock = std::chrono::steady_clock;

// The kernel gives a queue free a while after the socket that had it was closed, some ms or more on a busy machine.
constexpr auto kQueuePatience = std::chrono::milliseconds(500);  // for all queues of a port
constexpr auto kQueuePause = std::chrono::milliseconds(10);

Result<std::unique_ptr<XskSocket>> OpenSocket(const std::string& device, uint32_t queue, uint32_t frames,
                                              Clock::time_point until) {
  for (;;) {
    auto socket = XskSocket::Open(device, queue, frames);
    if (socket || socket.error().reason != "busy" || Clock::now() >= until) return socket;
    std::this_thread::sleep_for(kQueuePause);
  }
}

sluice_miss_policy ParsePolicy(const std::string& text) {
  if (text == "pass") return SLUICE_MISS_PASS;
  return text == "drop" ? SLUICE_MISS_DROP : SLUICE_MISS_UPCALL;
}

// A plain name is one of the installed objects.
Result<std::string> ParseObject(std::string text) {
  if (text.empty() || text.front() == '/' || text.find('/') == std::string::npos) return text;
  return Error{"bad_option", "option 'object' is '" + text +
                                 "'; it takes a name in the directory of objects, or a path " + "from the root on"};
}

}  // namespace

const char* PolicyName(sluice_miss_policy policy) {
  switch (policy) {
    case SLUICE_MISS_PASS:
      return "pass";
    case SLUICE_MISS_DROP:
      return "drop";
    default:
      return "upcall";
  }
}

Result<PortSettings> PortSettings::Parse(const std::map<std::string, std::string>& options,
                                         const PortSettings& defaults) {
  Options from(options);
  const auto mode = from.Choice("mode", {"auto", "native", "generic", "offload"}, xdp::ToString(defaults.mode));
  if (!mode) return mode.error();
  const auto miss = from.Choice("miss", {"pass", "drop", "upcall"}, PolicyName(defaults.miss));
  if (!miss) return miss.error();
  const auto max_flows = from.Number("max_flows", defaults.max_flows, 1, SLUICE_MAX_FLOWS);
  if (!max_flows) return max_flows.error();
  const auto upcall_rate = from.Number("upcall_rate", defaults.upcall_rate, 0, UINT32_MAX);
  if (!upcall_rate) return upcall_rate.error();
  const auto replace = from.Choice("replace", {"no", "yes"}, defaults.replace ? "yes" : "no");
  if (!replace) return replace.error();
  const auto upcall_match = from.Choice("upcall_match", {"yes", "no"}, defaults.upcall_match ? "yes" : "no");
  if (!upcall_match) return upcall_match.error();
  const auto object = ParseObject(from.Text("object", defaults.object));
  if (!object) return object.error();
  const auto software = from.Choice("software", {"yes", "no"}, defaults.software ? "yes" : "no");
  if (!software) return software.error();
  const auto max_edits = from.Number("max_edits", defaults.max_edits, 0, 1U << 24);
  if (!max_edits) return max_edits.error();
  const auto cache = from.Number("cache", defaults.cache, 64, 1U << 24);
  if (!cache) return cache.error();
  if (!std::has_single_bit(*cache)) {
    return Error{"bad_option", "option 'cache' is '" + std::to_string(*cache) + "'; it takes a power of two"};
  }
  const auto known = from.CheckUnknown();
  if (!known) return known.error();
  return PortSettings{.mode = ParseMode(*mode),
                      .miss = ParsePolicy(*miss),
                      .max_flows = static_cast<uint32_t>(*max_flows),
                      .upcall_rate = static_cast<uint32_t>(*upcall_rate),
                      .upcall_match = *upcall_match == "yes",
                      .object = *object,
                      .software = *software == "yes",
                      .max_edits = static_cast<uint32_t>(*max_edits),
                      .cache = static_cast<uint32_t>(*cache),
                      .replace = *replace == "yes"};
}

std::string ObjectPath(const std::string& asked, const std::string& otherwise) {
  if (asked.empty() || asked.front() == '/') return asked.empty() ? otherwise : asked;
  return (std::filesystem::path(otherwise).parent_path() / asked).string();
}

Port::Port(const PortContext& context, std::string name, uint32_t number, const PortSettings& settings)
    : context_(context), name_(std::move(name)), number_(number), settings_(settings), serial_(NextTableSerial()) {}

Port::~Port() { Detach(); }

void Port::Detach() {
  attachment_.reset();
  if (is_output_) context_.groups.ClearPort(number_);
  is_output_ = false;
}

Result<std::unique_ptr<Port>> Port::Open(const PortContext& context, const std::string& name, uint32_t number,
                                         const PortSettings& settings) {
  std::unique_ptr<Port> port(new Port(context, name, number, settings));
  auto device = QueryDevice(name);
  if (!device) return device.error();
  port->device_ = std::move(*device);
  port->dropped_before_ = ReadDropped(port->device_.ifindex);
  for (const auto step :
       {&Port::CheckFree, &Port::Load, &Port::JoinPasses, &Port::OpenSockets, &Port::Attach, &Port::BecomeOutput}) {
    const auto done = (*port.*step)();
    if (!done) return done.error();
  }
  port->Prepare();
  return port;
}

// First of all: somebody with a program on the device may have its queues, too, and be named for these only.
Result<void> Port::CheckFree() {
  const auto* kept = context_.kept.Find(name_, device_.ifindex);
  const bool ours = kept != nullptr && kept->pinned;
  if (device_.program_id == 0 || settings_.replace || ours) return {};
  return Attachment::Busy(device_);
}

Result<void> Port::Load() {
  if (settings_.mode == Mode::kOffload && (device_.xdp_features.value_or(kXdpHwOffload) & kXdpHwOffload) == 0) {
    return Error{"not_supported", "the driver of " + name_ + " (" + device_.driver + ") offers no XDP offload"};
  }
  frags_ = LargestMtu(device_) > kSinglePageMtu;
  ObjectOptions options;
  options.path = ObjectPath(settings_.object, context_.object_path);
  options.max_edits = settings_.max_edits;
  options.cache_entries = settings_.cache;
  options.max_flows = settings_.max_flows;
  options.subtable_entries = std::min(options.subtable_entries, settings_.max_flows);
  options.miss_policy = settings_.miss;
  options.upcall_rate = settings_.upcall_rate;
  options.frags = frags_;
  options.offload_ifindex = settings_.mode == Mode::kOffload ? static_cast<uint32_t>(device_.ifindex) : 0;
  options.ports_fd = context_.groups.ports_fd(frags_);
  options.groups_fd = context_.groups.groups_fd();
  options.programs_fd = context_.passes.maps().programs_fd(frags_);
  options.state_fd = context_.passes.maps().state_fd();
  auto object = Object::Load(options);
  if (!object && settings_.mode == Mode::kOffload) {
    return Error{"not_supported", name_ + " (driver " + device_.driver +
                                      ") does not take the program for offload: " + object.error().detail};
  }
  if (!object) return object.error();
  object_ = std::move(*object);
  auto table = MakeFlowTable(*object_, context_.reclaimer, context_.listener);
  if (!table) return table.error();
  table_ = std::move(*table);
  return {};
}

// What later passes have to know of the port.
Result<void> Port::JoinPasses() {
  if (object_->MapFd("passes") < 0) return {};
  auto slot = context_.passes.slots().Take(device_.rx_queues, settings_.miss, object_->control().upcalls_per_window);
  if (!slot) return slot.error();
  pass_slot_ = *std::move(slot);
  object_->SetPassPort(number_, pass_slot_->index());
  passes_before_ = context_.passes.CountersOf(pass_slot_->index());
  return {};
}

// Redirected-in frames may be on any queue, so each has its socket.
Result<void> Port::OpenSockets() {
  if (object_->xsks_fd() < 0) {
    if (settings_.miss != SLUICE_MISS_UPCALL) return {};
    return Error{"bad_option", "miss=upcall: the object " + object_->options().path +
                                   " has no map xsks, so its packets cannot go up; take miss=pass or miss=drop"};
  }
  std::string why;
  const uint32_t frames = XskSocket::FramesFor(device_.rx_queues);
  const auto until = Clock::now() + kQueuePatience;
  for (uint32_t queue = 0; queue < device_.rx_queues; ++queue) {
    auto socket = OpenSocket(name_, queue, frames, until);
    Result<void> opened = socket ? (*socket)->Register(object_->xsks_fd()) : Result<void>(socket.error());
    if (opened && pass_slot_ != nullptr) {
      opened = (*socket)->Register(context_.passes.maps().xsks_fd(), pass_slot_->xsk_base() + queue);
    }
    if (!opened && settings_.miss == SLUICE_MISS_UPCALL) return opened;
    if (opened) {
      sockets_.push_back(std::move(*socket));
    } else if (why.empty()) {
      why = opened.error().detail;
    }
  }
  if (!why.empty()) {
    warnings_.push_back("upcalls are lost from " + std::to_string(device_.rx_queues - sockets_.size()) + " of " +
                        std::to_string(device_.rx_queues) + " receive queues: " + why);
  }
  if (frags_ && !sockets_.empty() && !sockets_.front()->TakesSeveralBuffers()) {
    warnings_.push_back("this kernel (before 6.6) takes no packets of more than " +
                        std::to_string(XskSocket::kMostInOneFrame) + " bytes up as upcalls");
  }
  return {};
}

Result<void> Port::Attach() {
  const auto* kept = context_.kept.Find(name_, device_.ifindex);
  if (kept != nullptr && kept->pinned) {
    auto attachment = Attachment::FromPin(context_.kept.PinPath(device_.ifindex), device_);
    if (attachment && (settings_.mode == Mode::kAuto || settings_.mode == attachment->mode())) {
      attachment_ = std::move(*attachment);
      taking_over_ = true;
      return {};
    }
    // Not to be used as it is: what it holds is let go.
    context_.kept.RemovePin(device_.ifindex);
    attachment = Error{};
    context_.kept.Set(name_, {device_.ifindex, kept->changes, false});
    auto device = QueryDevice(name_);
    if (!device) return device.error();
    device_ = std::move(*device);
  }
  const auto displaced = Displace();
  if (!displaced) return displaced.error();
  std::string native_refusal;
  auto attachment = Attachment::Attach(device_, object_->program_fd(), settings_.mode, &native_refusal);
  if (!attachment) {
    if (*displaced && !(*displaced)->PutBack()) attachment.error().detail += "; taken off: " + (*displaced)->what();
    return attachment.error();
  }
  if (*displaced) replaced_ = (*displaced)->what();
  attachment_ = std::move(*attachment);
  if (!native_refusal.empty()) warnings_.push_back("in generic mode, which is slow, since: " + native_refusal);
  return {};
}

Result<std::optional<Displaced>> Port::Displace() {
  if (!settings_.replace || device_.program_id == 0) return std::optional<Displaced>();
  auto displaced = Displaced::TakeOff(device_);
  if (!displaced) return displaced.error();
  device_.program_id = 0;
  return std::optional(std::move(*displaced));
}

Result<void> Port::BecomeOutput() {
  auto set = context_.groups.SetPort(number_, static_cast<uint32_t>(device_.ifindex));
  is_output_ = static_cast<bool>(set);
  return set;
}

void Port::Prepare() {
  preparation_ = PrepareDevice(device_);
  // What an earlier run, or an earlier look at the device, changed is still ours to turn back.
  const auto* kept = context_.kept.Find(name_, device_.ifindex);
  KeptState::Entry entry{device_.ifindex, preparation_.changes, false};
  if (kept != nullptr) {
    entry.pinned = kept->pinned;
    for (const auto& change : kept->changes) {
      if (std::find(entry.changes.begin(), entry.changes.end(), change) == entry.changes.end()) {
        entry.changes.push_back(change);
      }
    }
  }
  preparation_.changes = entry.changes;
  context_.kept.Set(name_, std::move(entry));
  // Whether frames can be sent out of it is known once XDP, or GRO, is there.
  const auto device = QueryDevice(device_.ifindex);
  if (device) device_.xdp_features = device->xdp_features;
  if (device_.xdp_features && (*device_.xdp_features & kXdpNdoXmit) == 0) {
    preparation_.warnings.push_back(device_.IsVeth()
                                        ? "its peer runs neither GRO nor XDP: what native ports send to it is lost"
                                        : "its driver (" + device_.driver +
                                              ") takes no frames from native ports: what they send to it is lost");
  }
}

bool Port::Refresh(std::string* why) {
  auto device = QueryDevice(name_);
  if (!device || device->ifindex != device_.ifindex) {
    *why = "the device " + name_ + " is gone";
    return false;
  }
  if (!taking_over_ && device->program_id != ProgramId(object_->program_fd())) {
    *why = "its XDP program was taken off by somebody else";
    if (device->program_id != 0) *why += ", for " + DescribeProgram(device->program_id);
    return false;
  }
  const bool changed = device->up != device_.up || device->running != device_.running || device->mtu != device_.mtu;
  device_ = std::move(*device);
  if (changed) Prepare();
  return true;
}

Result<void> Port::TakeOver(const std::string& epoch) {
  if (!taking_over_) return {};
  const auto kept = QueryDevice(device_.ifindex);
  if (kept) kept_counts_ = KeptCounts::Open(context_.kept.CountsPath(device_.ifindex), epoch, kept->program_id);
  auto replaced = attachment_->Replace(object_->program_fd(), name_);
  if (!replaced) return replaced;
  taking_over_ = false;
  context_.kept.RemovePin(device_.ifindex);
  context_.kept.Set(name_, {device_.ifindex, preparation_.changes, false});
  return {};
}

Result<void> Port::Withdraw() {
  Detach();
  return context_.kept.Withdraw(name_);
}

Result<void> Port::Keep() {
  auto pinned = context_.kept.MakePinDirectory();
  // A port that was never taken over has its pin still.
  if (pinned && !taking_over_) pinned = attachment_->Pin(context_.kept.PinPath(device_.ifindex));
  if (pinned && !taking_over_ && !meta().tail_calls.empty() &&
      bpf_obj_pin(object_->MapFd("tail_calls"), context_.kept.TailCallsPath(device_.ifindex).c_str()) != 0) {
    pinned = SystemError("pinning the tail calls of " + name_, errno);
    context_.kept.RemovePin(device_.ifindex);
  }
  if (!pinned) return pinned;
  context_.kept.Set(name_, {device_.ifindex, preparation_.changes, true});
  // The program of an earlier run that was not taken over has its counts where they were.
  kept_ = !taking_over_;
  // Its own program and those of other ports go on.
  table_->Abandon();
  is_output_ = false;
  return {};
}

Result<void> Port::PacketOut(std::string_view packet) {
  return RunLive(object_->program_fd(), device_.ifindex, packet);
}

bool Port::MayUpcall() {
  const uint32_t limit = object_->control().upcalls_per_window;
  if (limit == 0) return true;
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
  const uint64_t ns = static_cast<uint64_t>(now.tv_sec) * 1'000'000'000 + static_cast<uint64_t>(now.tv_nsec);
  const uint64_t window = ns >> SLUICE_UPCALL_WINDOW_BITS;
  if (window != std::exchange(upcall_window_, window)) upcalls_in_window_ = 0;
  return upcalls_in_window_++ < limit;
}

}  // namespace sluice::xdp
