// SPDX-License-Identifier: Apache-2.0
#include "sluice/plugin_session.h"

#include <pthread.h>
#include <sys/eventfd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <deque>
#include <span>
#include <system_error>
#include <thread>

#include "sluice/signals_blocked.h"
#include "sluice/unique_fd.h"
#include "sluice/utf8.h"
#include "sluice/wire.h"
#include "zmq_socket.h"

namespace sluice {
namespace {

using Clock = std::chrono::steady_clock;

constexpr auto kHeartbeat = std::chrono::milliseconds(250);
constexpr auto kTick = std::chrono::milliseconds(600);  // the core allows for it: idle_grace_ms
constexpr int kLingerMs = 1000;                         // for the bye to reach a core that is there
// Batches taken without a look at the other descriptors; more than the core's credit window makes no difference.
constexpr int kBatchesInARow = 16;
// Messages that wait in the socket. Few: what is said last should not stand behind seconds of upcalls.
constexpr int kQueue = 16;

// How long opening or closing a device, or taking another plugin's programs, may take before it is a failure.
constexpr uint32_t kDeviceMs = 5'000;

bool TouchesDevices(const v1::ToPlugin& batch) {
  return batch.synced() || std::any_of(batch.changes().begin(), batch.changes().end(), [](const v1::Change& change) {
           return change.has_port_put() || change.has_port_del() || change.has_extension();
         });
}

// Worth a message of its own.
bool SaysSomething(const v1::FromPlugin& message) {
  return message.ack() != 0 || message.verdicts_size() != 0 || message.stats_size() != 0 ||
         message.upcalls_size() != 0 || message.ports_size() != 0 || message.heartbeat() || message.bye() ||
         message.has_hello() || message.kept() || message.resync();
}

}  // namespace

class PluginSession::Impl {
 public:
  Impl(Settings settings, Handler& handler)
      : settings_(std::move(settings)),
        handler_(handler),
        context_(settings_.zmq_context),
        socket_(context_, zmq::socket_type::dealer),
        wake_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
    if (wake_.get() < 0) throw std::system_error(errno, std::generic_category(), "eventfd");
    socket_->set(zmq::sockopt::linger, kLingerMs);
    socket_->set(zmq::sockopt::sndhwm, kQueue);
    socket_->connect(settings_.endpoint);
    const SignalsBlocked blocked;
    thread_ = std::thread([this] { Run(); });
  }

  ~Impl() {
    quit_ = true;
    Signal();
    thread_.join();
  }
  Impl(const Impl&) = delete;
  Impl& operator=(const Impl&) = delete;

  void Wake() {
    woken_ = true;
    Signal();
  }

  void Busy(uint32_t ms) {
    v1::FromPlugin beat;
    beat.set_heartbeat(true);
    beat.set_busy_ms(ms);
    Queue(beat);
  }

 private:
  void Signal() {
    // EAGAIN: the counter is full, so the thread has a wake-up to come anyway.
    (void)eventfd_write(wake_.get(), 1);
  }

  // Nothing leaves this thread but what is said on the bus.
  void Run() noexcept {
    pthread_setname_np(pthread_self(), ("plugin-" + settings_.name).substr(0, 15).c_str());
    std::string error;
    try {
      SendHello();
      Loop();
    } catch (const std::exception& caught) {
      error = *caught.what() != '\0' ? caught.what() : "unnamed exception";
    } catch (...) {
      error = "an exception of unknown type";
    }
    SayBye(error);
  }

  void Loop() {
    next_tick_ = Clock::now() + kTick;
    next_beat_ = Clock::now() + kHeartbeat;
    while (!quit_ && !stopped_) {
      if (Flush()) {
        Receive();
        if (quit_ || stopped_) break;
        if (woken_.exchange(false)) OnWake();
        Timers();
      }
      Wait();
    }
  }

  // While the core does not take what is said, nothing more is taken in: what waits here stays bounded.
  void Wait() {
    const bool stuck = !outbox_.empty();
    items_.clear();
    items_.push_back(socket_.PollItem(stuck ? ZMQ_POLLOUT : ZMQ_POLLIN));
    items_.push_back({nullptr, wake_.get(), ZMQ_POLLIN, 0});
    if (!stuck) {
      for (const int fd : handler_.Fds()) items_.push_back({nullptr, fd, ZMQ_POLLIN, 0});
    }
    const auto timeout = stuck ? std::chrono::milliseconds(-1) : Until(std::min(next_tick_, next_beat_));
    try {
      zmq::poll(items_.data(), items_.size(), timeout);
    } catch (const zmq::error_t& error) {
      if (error.num() != EINTR) throw;
      return;
    }
    if ((items_[1].revents & ZMQ_POLLIN) != 0) {
      eventfd_t count = 0;
      (void)eventfd_read(wake_.get(), &count);
    }
    for (const auto& item : std::span(items_).subspan(2)) {
      if (item.revents == 0) continue;
      said_.Clear();
      handler_.OnReadable(item.fd, said_);
      Queue(said_);
    }
  }

  void OnWake() {
    v1::FromPlugin out;
    handler_.OnWake(out);
    Queue(out);
  }

  void Timers() {
    const auto now = Clock::now();
    if (now >= next_tick_) {
      next_tick_ = now + kTick;
      v1::FromPlugin out;
      handler_.OnTick(out);
      Queue(out);
    }
    if (now >= next_beat_) {
      next_beat_ = now + kHeartbeat;
      v1::FromPlugin beat;
      beat.set_heartbeat(true);
      Queue(beat);
    }
  }

  void Receive() {
    for (int i = 0; i < kBatchesInARow && outbox_.empty() && !stopped_ && !quit_; ++i) {
      zmq::message_t frame;
      if (!socket_->recv(frame, zmq::recv_flags::dontwait)) return;
      if (frame.more()) continue;  // a delimiter, or an identity: the message is the last frame
      arena_.Reset();
      batch_ = google::protobuf::Arena::CreateMessage<v1::ToPlugin>(&arena_);
      if (auto decoded = Decode(View(frame), *batch_); !decoded) throw std::runtime_error(decoded.error().detail);
      Take();
    }
  }

  void Take() {
    const bool other_core = batch_->epoch() != epoch_ && !epoch_.empty();
    const bool lost = batch_->epoch() == epoch_ && batch_->batch() > last_batch_ + 1 && last_batch_ != 0;
    epoch_ = batch_->epoch();
    if (batch_->batch() != 0 || other_core) last_batch_ = batch_->batch();
    if (other_core || batch_->resync()) handler_.OnResync();
    // Who loses a batch is told everything anew, as who is new to the core.
    if (other_core || batch_->introduce() || (lost && !batch_->resync() && !batch_->stop())) SendHello();
    if (TouchesDevices(*batch_)) Busy(kDeviceMs);
    reply_.Clear();
    v1::FromPlugin& reply = reply_;
    if (batch_->changes_size() != 0 || batch_->synced()) handler_.OnBatch(*batch_, reply);
    reply.set_ack(batch_->batch());
    Queue(reply);
    if (!batch_->stop()) return;
    v1::FromPlugin last;
    handler_.OnStop(batch_->keep(), last);
    Queue(last);
    while (woken_.exchange(false)) OnWake();
    stopped_ = true;
  }

  void SendHello() {
    v1::FromPlugin message;
    auto& hello = *message.mutable_hello();
    hello.set_name(settings_.name);
    hello.set_version(settings_.version);
    hello.set_token(settings_.token);
    *hello.mutable_capabilities() = settings_.capabilities;
    Queue(message);
  }

  void Queue(const v1::FromPlugin& message) {
    if (!SaysSomething(message)) return;
    outbox_.push_back(Encode(message));
    Flush();
  }

  // True when nothing is left to send.
  bool Flush() {
    while (!outbox_.empty()) {
      if (!socket_->send(zmq::buffer(outbox_.front()), zmq::send_flags::dontwait)) return false;
      outbox_.pop_front();
    }
    return true;
  }

  void SayBye(const std::string& error) noexcept {
    try {
      v1::FromPlugin message;
      message.set_bye(true);
      message.set_error(Utf8(error));
      Queue(message);
      // Last statistics stand before it: give a core that is slow the time to take them.
      const auto deadline = Clock::now() + std::chrono::milliseconds(kLingerMs);
      while (!Flush() && Clock::now() < deadline) {
        zmq::pollitem_t item = socket_.PollItem(ZMQ_POLLOUT);
        zmq::poll(&item, 1, Until(deadline));
      }
    } catch (...) {  // NOLINT(bugprone-empty-catch): there is nobody left to tell
    }
  }

  const Settings settings_;
  Handler& handler_;
  ZmqContext context_;
  ZmqSocket socket_;
  UniqueFd wake_;
  std::atomic<bool> quit_ = false;
  std::atomic<bool> woken_ = false;

  // The thread's own.
  std::string epoch_;
  uint64_t last_batch_ = 0;
  bool stopped_ = false;
  Clock::time_point next_tick_;
  Clock::time_point next_beat_;
  std::deque<std::string> outbox_;
  std::vector<zmq::pollitem_t> items_;
  // On an arena: a batch is some hundred small messages that come and go together.
  google::protobuf::Arena arena_;
  v1::ToPlugin* batch_ = nullptr;
  // Kept for what they have allocated: verdicts' strings cost more than they are worth.
  v1::FromPlugin said_;   // of OnReadable
  v1::FromPlugin reply_;  // to a batch

  std::thread thread_;
};

PluginSession::PluginSession(Settings settings, Handler& handler)
    : impl_(std::make_unique<Impl>(std::move(settings), handler)) {}
PluginSession::~PluginSession() = default;

void PluginSession::Wake() { impl_->Wake(); }
void PluginSession::Busy(uint32_t ms) { impl_->Busy(ms); }

PluginSession::Settings SessionSettings(const sluice_plugin_host& host) {
  const auto text = [](const char* string) { return std::string(string != nullptr ? string : ""); };
  return {.name = text(host.name),
          .version = "",
          .endpoint = text(host.endpoint),
          .token = text(host.token),
          .zmq_context = host.zmq_context,
          .capabilities = {}};
}

}  // namespace sluice
