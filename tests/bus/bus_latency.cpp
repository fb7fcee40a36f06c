// SPDX-License-Identifier: Apache-2.0
// How long a batch takes from the core's socket to OnBatch and its acknowledgement back.
#include <benchmark/benchmark.h>

#include <zmq_addon.hpp>

#include "sluice/plugin_session.h"
#include "sluice/wire.h"
#include "zmq_socket.h"

namespace {

using namespace sluice;

class Answer : public PluginSession::Handler {
 public:
  void OnBatch(const v1::ToPlugin& batch, v1::FromPlugin& reply) override {
    for (const auto& change : batch.changes()) reply.add_verdicts()->set_seq(change.seq());
  }
};

void RoundTrip(benchmark::State& state) {
  const ZmqContext context;
  ZmqSocket router(context, zmq::socket_type::router);
  router->bind("inproc://plugins");
  Answer handler;
  PluginSession::Settings settings;
  settings.endpoint = "inproc://plugins";
  settings.zmq_context = context.handle();
  PluginSession session(settings, handler);

  std::vector<zmq::message_t> frames;
  (void)zmq::recv_multipart(*router, std::back_inserter(frames));
  const std::string identity = frames.front().to_string();
  v1::ToPlugin batch;
  for (int64_t i = 0; i < state.range(0); ++i) {
    auto& put = *batch.add_changes()->mutable_put();
    put.set_ufid(std::string(16, 'u'));
    put.set_packed_match(std::string(60, 'm'));
    put.set_actions("p1");
  }
  uint64_t number = 0;
  for (auto unused : state) {
    batch.set_batch(++number);
    router->send(zmq::buffer(identity), zmq::send_flags::sndmore);
    router->send(zmq::buffer(Encode(batch)), zmq::send_flags::none);
    v1::FromPlugin reply;
    while (reply.ack() != number) {
      frames.clear();
      (void)zmq::recv_multipart(*router, std::back_inserter(frames));
      (void)Decode(View(frames.back()), reply);
    }
  }
  state.SetItemsProcessed(state.iterations() * state.range(0));
}
BENCHMARK(RoundTrip)->Arg(1)->Arg(256)->UseRealTime();

}  // namespace
