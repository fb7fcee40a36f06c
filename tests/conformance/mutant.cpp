// SPDX-License-Identifier: Apache-2.0
// A plugin with a fault: the example in C, with a relay between it and the core that makes one mistake (mutations.cpp),
// the one that option "mutant" names.
#include <fcntl.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <cstdio>
#include <fstream>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <thread>

#include "mutations.h"
#include "sluice/plugin.h"
#include "sluice/unique_fd.h"
#include "sluice/wire.h"
#include "zmq_socket.h"

extern "C" const sluice_plugin_descriptor healthy_plugin;  // unix_switch.c, compiled with another name

namespace sluice::mutant {
namespace {

constexpr const char* kInside = "inproc://inside-the-mutant";

class Relay {
 public:
  Relay(const sluice_plugin_host& host, std::unique_ptr<Mutation> mutation)
      : mutation_(std::move(mutation)),
        outside_(host.zmq_context),
        core_(outside_, zmq::socket_type::dealer),
        plugin_(inside_, zmq::socket_type::dealer),
        quit_(eventfd(0, EFD_CLOEXEC)) {
    core_->set(zmq::sockopt::linger, 1000);
    core_->connect(host.endpoint);
    plugin_->bind(kInside);
    thread_ = std::thread([this] { Run(); });
  }
  ~Relay() {
    (void)eventfd_write(quit_.get(), 1);
    thread_.join();
  }
  Relay(const Relay&) = delete;
  Relay& operator=(const Relay&) = delete;

  void* context() { return inside_.handle(); }

 private:
  void Run() {
    bool quit = false;
    while (!quit) {
      std::array<zmq::pollitem_t, 3> items = {
          {core_.PollItem(ZMQ_POLLIN), plugin_.PollItem(ZMQ_POLLIN), {nullptr, quit_.get(), ZMQ_POLLIN, 0}}};
      zmq::poll(items.data(), items.size(), std::chrono::milliseconds(-1));
      quit = items[2].revents != 0;  // the last words are passed on first
      while (ForwardToPlugin() || ForwardToCore()) continue;
    }
  }

  bool ForwardToPlugin() {
    zmq::message_t frame;
    if (!core_->recv(frame, zmq::recv_flags::dontwait)) return false;
    v1::ToPlugin message;
    v1::FromPlugin answer;
    if (!Decode(View(frame), message)) return true;
    mutation_->ToPlugin(message, answer);
    Send(plugin_, message);
    if (answer.ByteSizeLong() != 0) Send(core_, answer);
    return true;
  }

  bool ForwardToCore() {
    zmq::message_t frame;
    if (!plugin_->recv(frame, zmq::recv_flags::dontwait)) return false;
    v1::FromPlugin message;
    if (!Decode(View(frame), message)) return true;
    mutation_->FromPlugin(message);
    Send(core_, message);
    return true;
  }

  template <typename Message>
  static void Send(ZmqSocket& socket, const Message& message) {
    socket->send(zmq::buffer(Encode(message)), zmq::send_flags::none);
  }

  const std::unique_ptr<Mutation> mutation_;
  ZmqContext outside_;
  ZmqContext inside_;
  ZmqSocket core_;
  ZmqSocket plugin_;
  const UniqueFd quit_;
  std::thread thread_;
};

struct Mutant {
  std::string fault;
  std::string text;  // of the options that the healthy plugin gets
  std::unique_ptr<Relay> relay;
  void* healthy = nullptr;
};

int Start(const sluice_plugin_host* host, void** instance, char* error, size_t error_size) {
  auto mutant = std::make_unique<Mutant>();
  nlohmann::json options = nlohmann::json::parse(host->options);
  mutant->fault = options.value("mutant", "");
  options.erase("mutant");
  if (mutant->fault == "takes_any_option") options.erase("no_such_option_42");
  mutant->text = options.dump();
  auto mutation = MakeMutation(mutant->fault, host->run_dir);
  if (mutation == nullptr) {
    std::snprintf(error, error_size, "there is no mutation '%s'", mutant->fault.c_str());
    return -EINVAL;
  }
  mutant->relay = std::make_unique<Relay>(*host, std::move(mutation));
  sluice_plugin_host inner = *host;
  inner.options = mutant->text.c_str();
  inner.endpoint = kInside;
  inner.zmq_context = mutant->relay->context();
  if (const int failed = healthy_plugin.start(&inner, &mutant->healthy, error, error_size); failed != 0) return failed;
  *instance = mutant.release();
  return 0;
}

void Stop(void* instance) {
  std::unique_ptr<Mutant> mutant(static_cast<Mutant*>(instance));
  if (mutant->fault == "leaves_a_file") (void)open("/dev/null", O_RDONLY | O_CLOEXEC);
  if (mutant->fault == "leaves_its_sockets") {
    const auto dir = nlohmann::json::parse(mutant->text).value("dir", "");
    healthy_plugin.stop(mutant->healthy);
    std::ofstream(dir + "/left-behind");
    return;
  }
  healthy_plugin.stop(mutant->healthy);
}

}  // namespace
}  // namespace sluice::mutant

extern "C" __attribute__((visibility("default"))) const sluice_plugin_descriptor sluice_plugin = {
    SLUICE_PLUGIN_MAGIC,    SLUICE_PLUGIN_ABI,    sizeof(sluice_plugin_descriptor), "mutant", "1.0",
    &sluice::mutant::Start, &sluice::mutant::Stop};
