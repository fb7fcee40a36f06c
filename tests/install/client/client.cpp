// SPDX-License-Identifier: Apache-2.0
// Puts a flow, then waits until the plugin "counting" has given its verdict on it. Argument: the control endpoint.
#include <chrono>
#include <cstdio>
#include <string>
#include <utility>

#include "sluice/control_client.h"

namespace {

int Fail(const sluice::Error& error) {
  std::fprintf(stderr, "client: %s: %s\n", error.reason.c_str(), error.detail.c_str());
  return 1;
}

}  // namespace

int main(int argc, char** argv) {
  sluice::ControlClient::Settings settings;
  settings.endpoint = argc > 1 ? argv[1] : "ipc:///run/sluice/control";
  auto client = sluice::ControlClient::Connect(std::move(settings));
  if (!client) return Fail(client.error());

  sluice::v1::Request put;
  sluice::v1::Flow& flow = *put.mutable_flow_put()->add_flows();
  flow.set_match("eth_type(0x0800),ipv4(dst=192.0.2.0/24)");
  flow.set_actions("drop");
  const auto reply = client->Call(put);
  if (!reply) return Fail(reply.error());
  if (!reply->ok()) return Fail({reply->reason(), reply->detail()});

  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(10);
  while (std::chrono::steady_clock::now() < end) {
    sluice::v1::Request get;
    get.mutable_flow_get()->set_ufid(reply->ufids(0));
    const auto got = client->Call(get);
    if (!got) return Fail(got.error());
    for (const sluice::v1::Offload& offload : got->flows(0).offload()) {
      if (offload.plugin() == "counting" && offload.state() == sluice::v1::INSTALLED) {
        std::printf("installed by %s: %s\n", offload.plugin().c_str(), got->flows(0).match().c_str());
        return 0;
      }
    }
  }
  std::fprintf(stderr, "client: no verdict\n");
  return 1;
}
