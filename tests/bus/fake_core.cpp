// SPDX-License-Identifier: Apache-2.0
#include "fake_core.h"

#include <sys/eventfd.h>

#include <cstdlib>
#include <filesystem>
#include <future>
#include <stdexcept>
#include <zmq_addon.hpp>

#include "sluice/wire.h"

namespace sluice::test {

TempDir::TempDir() : path_("/tmp/sluice-bus-XXXXXX") {
  if (mkdtemp(path_.data()) == nullptr) throw std::runtime_error("mkdtemp");
}
TempDir::~TempDir() {
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
}

FakeCore::FakeCore(const std::string& dir, std::string epoch, bool listen)
    : endpoints_(EndpointsIn(dir)),
      control_(context_, zmq::socket_type::router),
      events_(context_, zmq::socket_type::xpub),
      ingress_(context_, zmq::socket_type::sub),
      wake_(eventfd(0, EFD_CLOEXEC)),
      epoch_(std::move(epoch)) {
  events_->set(zmq::sockopt::xpub_verbose, 1);
  control_->bind(endpoints_.control);
  events_->bind(endpoints_.events);
  ingress_->set(zmq::sockopt::rcvhwm, 100);
  ingress_->bind(endpoints_.ingress);
  if (listen) ingress_->set(zmq::sockopt::subscribe, "");
  thread_ = std::thread([this] { Run(); });
}

FakeCore::~FakeCore() {
  {
    const std::lock_guard lock(mutex_);
    quit_ = true;
  }
  eventfd_write(wake_.get(), 1);
  thread_.join();
}

void FakeCore::Run() {
  for (;;) {
    // Ingress by its descriptor: its subscriptions are sent on, its messages left for NextPublished.
    zmq::pollitem_t items[] = {control_.PollItem(ZMQ_POLLIN),
                               events_.PollItem(ZMQ_POLLIN),
                               {nullptr, wake_.get(), ZMQ_POLLIN, 0},
                               {nullptr, ingress_->get(zmq::sockopt::fd), ZMQ_POLLIN, 0}};
    zmq::poll(items, 4, std::chrono::milliseconds(-1));
    (void)ingress_->get(zmq::sockopt::events);
    if (items[2].revents != 0) {
      eventfd_t count = 0;
      eventfd_read(wake_.get(), &count);
      std::vector<std::function<void()>> work;
      {
        const std::lock_guard lock(mutex_);
        if (quit_) return;
        work.swap(work_);
      }
      for (const auto& item : work) item();
    }
    ServeControl();
    ServeSubscriptions();
  }
}

void FakeCore::Do(const std::function<void()>& work) {
  std::promise<void> done;
  {
    const std::lock_guard lock(mutex_);
    work_.emplace_back([&] {
      work();
      done.set_value();
    });
  }
  eventfd_write(wake_.get(), 1);
  done.get_future().wait();
}

void FakeCore::SetHandler(Handler handler) {
  Do([&] { handler_ = std::move(handler); });
}

void FakeCore::Listen(const std::string& prefix) {
  Do([&] { ingress_->set(zmq::sockopt::subscribe, prefix); });
}

std::optional<std::pair<std::string, std::string>> FakeCore::NextPublished(std::chrono::milliseconds timeout) {
  std::optional<std::pair<std::string, std::string>> message;
  Do([&] {
    zmq::pollitem_t item = ingress_.PollItem(ZMQ_POLLIN);
    zmq::poll(&item, 1, timeout);
    std::vector<zmq::message_t> frames;
    if (zmq::recv_multipart(*ingress_, std::back_inserter(frames), zmq::recv_flags::dontwait)) {
      message = {frames.front().to_string(), frames.back().to_string()};
    }
  });
  return message;
}

void FakeCore::ServeControl() {
  std::vector<zmq::message_t> frames;
  while (zmq::recv_multipart(*control_, std::back_inserter(frames), zmq::recv_flags::dontwait)) {
    v1::Request request;
    const auto encoding = EncodingOf(View(frames.back()));
    v1::Reply reply;
    if (std::exchange(misread_, false) || !Decode(View(frames.back()), request)) {
      request.Clear();
      reply.set_reason("bad_request");
    } else {
      reply = handler_ ? handler_(request) : Yes();
    }
    reply.set_id(request.id());
    frames.back() = zmq::message_t(Encode(reply, encoding));
    if (!std::exchange(lose_reply_, false)) zmq::send_multipart(*control_, frames);
    frames.clear();
  }
}

// A new monitor learns at once that its subscription is in force.
void FakeCore::ServeSubscriptions() {
  zmq::message_t frame;
  while (events_->recv(frame, zmq::recv_flags::dontwait)) {
    if (frame.size() < 2 || frame.data<char>()[0] != 1) continue;
    if (View(frame).substr(1) == "heartbeat") Beat();
  }
}

uint64_t FakeCore::Publish(const std::string& topic, v1::Event event, bool lost) {
  v1::Events message;
  message.set_node("node");
  message.set_epoch(epoch_);
  event.set_seq(++seq_);
  event.set_topic_seq(++topic_seq_[topic]);
  event.set_topic(topic);
  *message.add_events() = std::move(event);
  if (!lost) PublishRaw(topic, Encode(message));
  return seq_;
}

void FakeCore::PublishFlow(const std::string& topic, const std::string& ufid, uint64_t packets, bool lost) {
  v1::Event event;
  event.mutable_flow()->set_ufid(ufid);
  event.mutable_flow()->set_packets(packets);
  Publish(topic, std::move(event), lost);
}

void FakeCore::PublishRaw(const std::string& topic, const std::string& payload) {
  events_->send(zmq::buffer(topic), zmq::send_flags::sndmore);
  events_->send(zmq::buffer(payload), zmq::send_flags::none);
}

void FakeCore::Beat(uint64_t interval_ms) {
  v1::Events message;
  message.set_node("node");
  message.set_epoch(epoch_);
  auto& event = *message.add_events();
  event.set_topic("heartbeat");
  event.set_seq(seq_);
  event.mutable_heartbeat()->set_seq(seq_);
  event.mutable_heartbeat()->set_interval_ms(interval_ms);
  for (const auto& [topic, number] : topic_seq_) (*event.mutable_heartbeat()->mutable_topic_seq())[topic] = number;
  PublishRaw("heartbeat", Encode(message));
}

void FakeCore::StartEpoch(const std::string& epoch) {
  epoch_ = epoch;
  seq_ = 0;
  topic_seq_.clear();
}

v1::Reply FakeCore::Yes() const {
  v1::Reply reply;
  reply.set_ok(true);
  reply.set_epoch(epoch_);
  reply.set_seq(seq_);
  return reply;
}

FakePluginPath::FakePluginPath() : FakePluginPath("inproc://plugins") {}

FakePluginPath::FakePluginPath(const std::string& endpoint)
    : endpoint_(endpoint), socket_(context_, zmq::socket_type::router) {
  socket_->set(zmq::sockopt::router_mandatory, 1);
  socket_->bind(endpoint_);
}

std::optional<v1::FromPlugin> FakePluginPath::NextOfAnyKind(std::chrono::milliseconds timeout) {
  zmq::pollitem_t item = socket_.PollItem(ZMQ_POLLIN);
  zmq::poll(&item, 1, timeout);
  std::vector<zmq::message_t> frames;
  if (!zmq::recv_multipart(*socket_, std::back_inserter(frames), zmq::recv_flags::dontwait)) return std::nullopt;
  identity_ = frames.front().to_string();
  v1::FromPlugin message;
  if (frames.size() != 2 || !Decode(View(frames.back()), message)) return std::nullopt;
  return message;
}

std::optional<v1::FromPlugin> FakePluginPath::Next(std::chrono::milliseconds timeout) {
  const auto deadline = std::chrono::steady_clock::now() + timeout;
  for (;;) {
    auto message = NextOfAnyKind(Until(deadline));
    if (!message || !message->heartbeat()) return message;
  }
}

void FakePluginPath::Send(const v1::ToPlugin& message) { SendRaw(Encode(message)); }

void FakePluginPath::SendRaw(const std::string& payload) {
  socket_->send(zmq::buffer(identity_), zmq::send_flags::sndmore);
  socket_->send(zmq::buffer(payload), zmq::send_flags::none);
}

}  // namespace sluice::test
