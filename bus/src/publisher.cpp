// SPDX-License-Identifier: Apache-2.0
#include "sluice/publisher.h"

#include <unistd.h>

#include <algorithm>
#include <optional>
#include <random>
#include <set>
#include <thread>

#include "sluice/control_client.h"
#include "sluice/endpoints.h"
#include "sluice/wire.h"
#include "zmq_socket.h"

namespace sluice {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::chrono::milliseconds kFirstLook{1};
constexpr std::chrono::milliseconds kLastLook{50};

// Not 0, and exact where JSON numbers are doubles.
uint64_t NewRun() {
  std::random_device random;
  return ((uint64_t{random()} << 21) ^ random()) % ((uint64_t{1} << 53) - 1) + 1;
}

}  // namespace

class Publisher::Impl {
 public:
  explicit Impl(Settings settings)
      : settings_(std::move(settings)), context_(settings_.zmq_context), socket_(context_, zmq::socket_type::xpub) {
    if (settings_.name.empty()) settings_.name = "pid " + std::to_string(getpid());
    // XPUB shows the subscriptions, and can say that a queue is full where PUB would drop.
    socket_->set(zmq::sockopt::xpub_nodrop, 1);
    socket_->set(zmq::sockopt::xpub_verbose, 1);  // a daemon that comes after another shows, too
    socket_->set(zmq::sockopt::sndhwm, settings_.high_water_mark);
    socket_->set(zmq::sockopt::sndtimeo, static_cast<int>(settings_.block.count()));
    socket_->set(zmq::sockopt::linger, static_cast<int>(settings_.linger.count()));
    socket_->connect(settings_.endpoint);
  }

  Result<void> WaitReady(std::string_view topic) {
    const auto deadline = Clock::now() + settings_.connect_timeout;
    for (;;) {
      TakeSubscriptions();
      const bool ready = std::any_of(subscriptions_.begin(), subscriptions_.end(),
                                     [topic](const std::string& prefix) { return topic.starts_with(prefix); });
      if (ready) return {};
      if (Clock::now() >= deadline) return NoDaemon();
      zmq::pollitem_t item = socket_.PollItem(ZMQ_POLLIN);
      zmq::poll(&item, 1, Until(deadline));
    }
  }

  // Room for one more flow or packet under `topic`, or why not.
  Result<void> MakeRoom(std::string_view topic) {
    const bool full = Collected() >= settings_.batch;
    if (Collected() != 0 && (full || topic != topic_)) {
      if (auto sent = Flush(); !sent) return sent;
    }
    topic_ = topic;
    return {};
  }

  // A full batch goes at once. Where it cannot it stays, and the next call tells why.
  void SendIfFull() {
    if (Collected() >= settings_.batch) (void)Flush();
  }

  Result<void> Flush() {
    if (Collected() == 0) return {};
    const uint64_t packets = static_cast<uint64_t>(packets_.packets_size());
    const uint64_t flows = Collected() - packets;
    auto sent = packets != 0             ? Send(topic_, packets_)
                : put_.flows_size() != 0 ? Send(topic_, put_)
                                         : Send(topic_, del_);
    if (!sent) return sent;
    counters_.flows += flows;
    counters_.packets += packets;
    run_records_ += flows + packets;
    put_.clear_flows();
    del_.clear_flows();
    packets_.clear_packets();
    return {};
  }

  // A number that was not sent is given to the next message: the daemon counts what is missing.
  template <typename Message>
  Result<void> Send(std::string_view topic, Message& message) {
    if (auto ready = WaitReady(topic); !ready) return ready;
    message.set_publisher(settings_.name);
    message.set_publisher_run(run_);
    message.set_publisher_seq(run_messages_ + 1);
    message.set_publisher_records(run_records_);
    const std::string payload = Encode(message);
    if (payload.size() > kMaxPayload) {
      return Error{.reason = "too_large",
                   .detail = "the message has " + std::to_string(payload.size()) + " bytes; the limit is " +
                             std::to_string(kMaxPayload)};
    }
    // The queue is looked at for the first frame only: the second cannot fail for want of room.
    if (!socket_->send(zmq::buffer(topic), zmq::send_flags::sndmore)) {
      ++counters_.would_block;
      return Error{.reason = "would_block",
                   .detail = std::to_string(settings_.high_water_mark) + " messages wait for the daemon at " +
                             settings_.endpoint + " already"};
    }
    socket_->send(zmq::buffer(payload), zmq::send_flags::none);
    ++counters_.messages;
    ++run_messages_;
    return {};
  }

  Result<void> DeleteAll(const std::string& port) {
    if (auto sent = Flush(); !sent) return sent;
    v1::FlowFlush flush;
    flush.set_port(port);
    if (auto sent = Send(topic::kFlowFlush, flush); !sent) return sent;
    ++counters_.flushes;
    ++run_records_;
    return {};
  }

  // Ingress keeps order: when a message has come, all before it have come or never will. So the last word is an empty
  // message, and when the daemon has that it knows.
  Result<Account> Settle(std::chrono::milliseconds timeout) {
    if (settings_.control.empty()) {
      return Error{.reason = "bad_endpoint", .detail = "the publisher was not told the control endpoint"};
    }
    const auto deadline = Clock::now() + timeout;
    if (auto ready = WaitReady(topic::kFlowPut); !ready) return ready.error();
    const uint64_t run = run_;
    const auto say = [&]() -> Result<void> {
      if (auto sent = Flush(); !sent) return sent;
      v1::FlowPut last_word;
      return Send(topic::kFlowPut, last_word);
    };
    auto said = say();
    while (!said && said.error().reason == "would_block" && Clock::now() < deadline) {
      std::this_thread::sleep_for(kFirstLook);
      said = say();
    }
    if (!said && said.error().reason != "would_block") return said.error();
    for (auto pause = kFirstLook;; pause = std::min(2 * pause, kLastLook)) {
      auto account = Look(run, deadline);
      if (run != run_)
        return Error{.reason = "daemon_changed", .detail = "another daemon than these were sent to listens now"};
      if (!account || account->under_way == 0 || Clock::now() >= deadline) return account;
      std::this_thread::sleep_for(std::min(pause, Until(deadline)));
    }
  }

  [[nodiscard]] size_t Collected() const {
    return static_cast<size_t>(put_.flows_size()) + static_cast<size_t>(del_.flows_size()) +
           static_cast<size_t>(packets_.packets_size());
  }

  [[nodiscard]] Error NoDaemon() const {
    if (auto reachable = CheckReachable(settings_.endpoint); !reachable) return reachable.error();
    return {.reason = "no_daemon",
            .detail = "the daemon at " + settings_.endpoint + " has not subscribed within " +
                      std::to_string(settings_.connect_timeout.count()) + " ms"};
  }

  v1::FlowPut put_;  // at most one of these has anything in it
  v1::FlowDel del_;
  v1::PacketOuts packets_;
  Counters counters_;

 private:
  // A frame: 1 or 0, then the prefix subscribed to or no longer. A daemon that goes takes its subscriptions along.
  void TakeSubscriptions() {
    zmq::message_t frame;
    while (socket_->recv(frame, zmq::recv_flags::dontwait)) {
      const auto text = View(frame);
      if (text.empty()) continue;
      const std::string prefix(text.substr(1));
      if (text.front() == 1) {
        subscriptions_.insert(prefix);
        if (!ever_subscribed_.insert(prefix).second) BeginRun();
      } else if (text.front() == 0) {
        subscriptions_.erase(prefix);
      }
    }
  }

  // The daemon that subscribes now has not seen what went to the one before.
  void BeginRun() {
    run_ = NewRun();
    run_messages_ = 0;
    run_records_ = 0;
  }

  // What the daemon knows by now.
  Result<Account> Look(uint64_t run, Clock::time_point deadline) {
    if (!control_) {
      auto connected = ControlClient::Connect({.endpoint = settings_.control, .zmq_context = settings_.zmq_context});
      if (!connected) return connected.error();
      control_ = std::move(*connected);
    }
    v1::Request request;
    request.mutable_publisher_get()->set_name(settings_.name);
    request.mutable_publisher_get()->set_run(run);
    auto reply = control_->Call(request, std::max(Until(deadline), kLastLook));
    if (!reply) return reply.error();
    TakeSubscriptions();
    Account account{.sent = run_records_, .under_way = run_records_};
    if (!reply->ok() && reply->reason() != "no_such_publisher") {
      return Error{.reason = reply->reason(), .detail = reply->detail()};
    }
    if (reply->publishers_size() == 0) return account;
    const v1::Publisher& told = reply->publishers(0);
    account.accepted = told.accepted();
    account.refused = told.refused();
    account.dropped = told.dropped();
    const uint64_t known = account.accepted + account.refused + account.dropped;
    account.under_way = run_records_ - std::min(known, run_records_);
    return account;
  }

  Settings settings_;
  ZmqContext context_;
  ZmqSocket socket_;
  std::optional<ControlClient> control_;  // once somebody asks
  std::set<std::string> subscriptions_;
  std::set<std::string> ever_subscribed_;
  uint64_t run_ = NewRun();
  uint64_t run_messages_ = 0;
  uint64_t run_records_ = 0;
  std::string_view topic_;  // of what is collected; one of the constants of namespace topic
};

Publisher::Publisher(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Publisher::Publisher(Publisher&&) noexcept = default;
Publisher& Publisher::operator=(Publisher&&) noexcept = default;

namespace {

// cppzmq throws where the context is terminated or the process is out of resources.
template <typename Work>
auto Contained(Work work) -> decltype(work()) {
  try {
    return work();
  } catch (const zmq::error_t& error) {
    return Error{.reason = "no_daemon", .detail = std::string("the connection failed: ") + error.what()};
  }
}

}  // namespace

Publisher::~Publisher() {
  if (impl_) (void)Flush();
}

Result<Publisher> Publisher::Connect(Settings settings) {
  const std::string endpoint = settings.endpoint;
  try {
    return Publisher(std::make_unique<Impl>(std::move(settings)));
  } catch (const zmq::error_t& error) {
    return BadEndpoint(endpoint, error);
  }
}

Result<void> Publisher::WaitReady() {
  return Contained([&] { return impl_->WaitReady(topic::kFlowPut); });
}

Result<void> Publisher::Put(v1::Flow flow) {
  return Contained([&]() -> Result<void> {
    if (auto room = impl_->MakeRoom(topic::kFlowPut); !room) return room;
    *impl_->put_.add_flows() = std::move(flow);
    impl_->SendIfFull();
    return {};
  });
}

Result<void> Publisher::Modify(v1::Flow flow) {
  return Contained([&]() -> Result<void> {
    if (auto room = impl_->MakeRoom(topic::kFlowModify); !room) return room;
    *impl_->put_.add_flows() = std::move(flow);
    impl_->SendIfFull();
    return {};
  });
}

Result<void> Publisher::Delete(v1::FlowKey key) {
  return Contained([&]() -> Result<void> {
    if (auto room = impl_->MakeRoom(topic::kFlowDelete); !room) return room;
    *impl_->del_.add_flows() = std::move(key);
    impl_->SendIfFull();
    return {};
  });
}

Result<void> Publisher::Flush() {
  return Contained([&] { return impl_->Flush(); });
}

Result<void> Publisher::DeleteAll(const std::string& port) {
  return Contained([&] { return impl_->DeleteAll(port); });
}

Result<void> Publisher::PacketOut(v1::PacketOut packet) {
  return Contained([&]() -> Result<void> {
    if (auto room = impl_->MakeRoom(topic::kPacketOuts); !room) return room;
    *impl_->packets_.add_packets() = std::move(packet);
    impl_->SendIfFull();
    return {};
  });
}

Result<Publisher::Account> Publisher::Settle(std::chrono::milliseconds timeout) {
  return Contained([&] { return impl_->Settle(timeout); });
}

const Publisher::Counters& Publisher::counters() const { return impl_->counters_; }

}  // namespace sluice
