// SPDX-License-Identifier: Apache-2.0
// What a plugin is told, whatever that is: a real session of libsluice, in C, on an inproc socket. It says bye and
// ends, and calls the plugin with nothing but what the interface promises.
#include <cerrno>
#include <cstring>
#include <set>
#include <string>
#include <zmq.hpp>

#include "fuzz.h"
#include "sluice/flow_text.h"
#include "sluice/plugin.h"
#include "sluice/wire.h"

namespace {

using namespace sluice;

constexpr const char* kEndpoint = "inproc://fuzz";
constexpr int kPatienceMs = 20'000;

// The plugin. One session at a time.
struct Plugin {
  std::set<std::string> flows;
  std::set<std::string> ports;
  std::string counted;  // the flow that it has statistics of

  static std::string Name(const uint8_t* ufid) { return {reinterpret_cast<const char*>(ufid), 16}; }
  static Plugin& Of(void* user) { return *static_cast<Plugin*>(user); }

  static int Put(void* user, const sluice_flow* flow, char* reason, char* detail) {
    FUZZ_CHECK(flow->match != nullptr && flow->actions != nullptr && *reason == '\0' && *detail == '\0');
    // Not terminated, and no UTF-8.
    std::memset(reason, 0xc3, 64);
    std::memset(detail, 0xc3, 256);
    Of(user).counted = Name(flow->ufid);
    const int said = static_cast<int>(flow->priority % 8);  // also what is no verdict
    if (said <= SLUICE_SOFTWARE && said >= SLUICE_PENDING) {
      Of(user).flows.insert(Name(flow->ufid));
    } else {
      Of(user).flows.erase(Name(flow->ufid));
    }
    return said;
  }
  static void Del(void* user, const uint8_t* ufid) { FUZZ_CHECK(Of(user).flows.erase(Name(ufid)) == 1); }
  static int PortAdd(void* user, const char* name, uint32_t number, const char* options, char* detail) {
    FUZZ_CHECK(options[0] == '{');
    std::memset(detail, 0xc3, 256);
    if (number % 5 == 4) {
      Of(user).ports.erase(name);
      return -1;
    }
    Of(user).ports.insert(name);
    return 0;
  }
  static void PortDel(void* user, const char* name) { FUZZ_CHECK(Of(user).ports.erase(name) == 1); }
  static size_t Stats(void* user, sluice_flow_stats* stats, size_t max) {
    FUZZ_CHECK(max >= 1);
    if (Of(user).counted.empty()) return 0;
    *stats = {};
    std::memcpy(stats->ufid, std::exchange(Of(user).counted, {}).data(), 16);
    stats->packets = 1;
    return 1;
  }
};

// The core's end.
class Core {
 public:
  Core() : socket_(context_, zmq::socket_type::router) {
    socket_.set(zmq::sockopt::rcvtimeo, kPatienceMs);
    socket_.set(zmq::sockopt::sndhwm, 0);
    socket_.set(zmq::sockopt::rcvhwm, 0);
    socket_.bind(kEndpoint);
  }
  void* context() { return context_.handle(); }

  void Meet() {
    identity_.clear();
    FUZZ_CHECK(Hear().has_hello());
  }
  void Say(std::string_view payload) {
    socket_.send(zmq::buffer(identity_), zmq::send_flags::sndmore);
    socket_.send(zmq::buffer(payload), zmq::send_flags::none);
  }
  v1::FromPlugin Hear() {
    zmq::message_t identity;
    zmq::message_t payload;
    FUZZ_CHECK(Receive(identity) && Receive(payload));
    if (identity_.empty()) identity_ = identity.to_string();
    FUZZ_CHECK(identity.to_string() == identity_);
    v1::FromPlugin message;
    FUZZ_CHECK(Decode(payload.to_string_view(), message));
    return message;
  }

 private:
  // libFuzzer's timer interrupts it.
  bool Receive(zmq::message_t& frame) {
    for (;;) {
      try {
        return socket_.recv(frame).has_value();
      } catch (const zmq::error_t& error) {
        FUZZ_CHECK(error.num() == EINTR);
      }
    }
  }

  zmq::context_t context_;
  zmq::socket_t socket_;
  std::string identity_;
};

}  // namespace

// Steps (see fuzz.h), each a ToPlugin.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static Core core;
  Plugin plugin;
  sluice_plugin_host host{};
  host.struct_size = sizeof host;
  host.name = "fuzz";
  host.endpoint = kEndpoint;
  host.token = "t";
  host.zmq_context = core.context();
  sluice_session_ops ops{};
  ops.struct_size = sizeof ops;
  ops.fields = "*";
  ops.actions = "*";
  ops.put = &Plugin::Put;
  ops.del = &Plugin::Del;
  ops.port_add = &Plugin::PortAdd;
  ops.port_del = &Plugin::PortDel;
  ops.stats = &Plugin::Stats;
  sluice_session* session = sluice_session_start(&host, "1", &ops, &plugin);
  FUZZ_CHECK(session != nullptr);
  core.Meet();
  for (const std::string_view step : fuzz::Steps(fuzz::Text(data, size))) core.Say(step);
  v1::ToPlugin stop;
  stop.set_stop(true);
  core.Say(stop.SerializeAsString());
  v1::FromPlugin last;
  while (!last.bye()) last = core.Hear();
  sluice_session_stop(session);
  return 0;
}
