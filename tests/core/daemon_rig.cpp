// SPDX-License-Identifier: Apache-2.0
#include "daemon_rig.h"

#include <gtest/gtest.h>

#include <fstream>
#include <stdexcept>
#include <thread>

namespace sluice::core::test {
namespace {

constexpr auto kLookAgain = std::chrono::milliseconds(5);
constexpr int kAnswerMs = 20'000;

}  // namespace

bool Eventually(const std::function<bool()>& condition, std::chrono::milliseconds timeout) {
  const auto deadline = std::chrono::steady_clock::now() + timeout;
  while (!condition()) {
    if (std::chrono::steady_clock::now() > deadline) return false;
    std::this_thread::sleep_for(kLookAgain);
  }
  return true;
}

Listener::Listener(const Daemon& daemon) : socket_(context_, zmq::socket_type::sub) {
  socket_.set(zmq::sockopt::subscribe, "json:");
  socket_.connect("ipc://" + daemon.run_dir() + "/events");
  // The daemon beats for every new subscription.
  zmq::message_t frame;
  socket_.set(zmq::sockopt::rcvtimeo, 5'000);
  if (!socket_.recv(frame)) throw std::runtime_error("no heartbeat came");
}

json Listener::Next(std::chrono::milliseconds timeout) {
  const auto deadline = std::chrono::steady_clock::now() + timeout;
  for (;;) {
    while (!waiting_.empty()) {
      json event = waiting_.front();
      waiting_.erase(waiting_.begin());
      if (event["topic"] != "heartbeat") return event;
    }
    const auto left =
        std::chrono::duration_cast<std::chrono::milliseconds>(deadline - std::chrono::steady_clock::now());
    if (left.count() <= 0) return nullptr;
    socket_.set(zmq::sockopt::rcvtimeo, static_cast<int>(left.count()));
    zmq::message_t frame;
    bool got = socket_.recv(frame).has_value();
    while (got && frame.more()) got = socket_.recv(frame).has_value();
    if (!got) return nullptr;
    const json message = json::parse(frame.to_string(), nullptr, false);
    if (message.is_object()) waiting_.assign(message["events"].begin(), message["events"].end());
  }
}

json Listener::Await(const std::string& topic) {
  for (;;) {
    json event = Next();
    if (event.is_null() || event["topic"] == topic) return event;
  }
}

Shouter::Shouter(const Daemon& daemon) : socket_(context_, zmq::socket_type::xpub) {
  socket_.set(zmq::sockopt::rcvtimeo, 5'000);
  socket_.set(zmq::sockopt::sndhwm, 0);
  socket_.connect("ipc://" + daemon.run_dir() + "/ingress");
  zmq::message_t subscription;
  if (!socket_.recv(subscription)) throw std::runtime_error("the daemon does not subscribe");
}

void Shouter::Say(const std::string& topic, const std::string& payload) {
  socket_.send(zmq::buffer(topic), zmq::send_flags::sndmore);
  socket_.send(zmq::buffer(payload), zmq::send_flags::none);
}

Flooder::Flooder(const Daemon& daemon, std::string name, int queue)
    : name_(std::move(name)), socket_(context_, zmq::socket_type::pub) {
  socket_.set(zmq::sockopt::sndhwm, queue);
  socket_.set(zmq::sockopt::linger, 0);
  socket_.connect("ipc://" + daemon.run_dir() + "/ingress");
}

void Flooder::Send(const std::string& payload, uint64_t records) {
  // Parts of a protobuf message may stand one after another.
  v1::FlowPut origin;
  origin.set_publisher(name_);
  origin.set_publisher_run(77);
  origin.set_publisher_seq(++messages_);
  origin.set_publisher_records(records_);
  records_ += records;
  socket_.send(zmq::str_buffer("flow.put"), zmq::send_flags::sndmore);
  socket_.send(zmq::buffer(payload + origin.SerializeAsString()), zmq::send_flags::none);
}

bool Flooder::Conclude(const Daemon& daemon) {
  return Eventually([&] {
    if (PublisherOf(daemon, name_).seq() == messages_) return true;
    Send("", 0);
    return false;
  });
}

v1::Publisher PublisherOf(const Daemon& daemon, const std::string& name) {
  v1::Request request;
  request.mutable_publisher_get()->set_name(name);
  const v1::Reply reply = daemon.Ask(request);
  return reply.publishers_size() == 0 ? v1::Publisher() : reply.publishers(0);
}

v1::Status StatusOf(const Daemon& daemon) {
  v1::Request request;
  request.mutable_status();
  return daemon.Ask(request).status();
}

uint64_t ResidentKiB(const Daemon& daemon) {
  std::ifstream status("/proc/" + std::to_string(daemon.pid()) + "/status");
  for (std::string line; std::getline(status, line);) {
    if (line.starts_with("VmRSS:")) return std::stoull(line.substr(line.find_first_of("0123456789")));
  }
  throw std::runtime_error("no VmRSS");
}

json AskJson(const Daemon& daemon, const json& request) {
  zmq::context_t context;
  zmq::socket_t socket(context, zmq::socket_type::req);
  socket.set(zmq::sockopt::linger, 0);
  socket.set(zmq::sockopt::rcvtimeo, kAnswerMs);
  socket.connect("ipc://" + daemon.run_dir() + "/control");
  socket.send(zmq::buffer(request.dump()), zmq::send_flags::none);
  zmq::message_t answer;
  if (!socket.recv(answer)) throw std::runtime_error("no answer to " + request.dump());
  return json::parse(answer.to_string());
}

bool Accepts(const Daemon& daemon, const json& request) {
  const json reply = AskJson(daemon, request);
  EXPECT_TRUE(reply["ok"].get<bool>()) << request << " gave " << reply["detail"];
  return reply["ok"].get<bool>();
}

json Load(const std::string& fixture, const std::string& isolation, const json& options) {
  const std::string path = std::string(FIXTURES) + "/" + fixture + ".so";
  return {{"plugin_load", {{"name", path}, {"isolation", isolation}, {"options", options}}}};
}

json PutFlow(const std::string& match, const std::string& actions) {
  return {{"flow_put", {{"flows", {{{"match", match}, {"actions", actions}}}}}}};
}

json FlowOf(const Daemon& daemon, const std::string& ufid) {
  const json reply = AskJson(daemon, {{"flow_get", {{"ufid", ufid}}}});
  return reply["flows"].empty() ? json() : reply["flows"][0];
}

json PluginOf(const Daemon& daemon, const std::string& name) {
  const json reply = AskJson(daemon, {{"plugin_list", json::object()}});
  for (const json& plugin : reply["plugins"]) {
    if (plugin["name"] == name) return plugin;
  }
  return nullptr;
}

}  // namespace sluice::core::test
