// SPDX-License-Identifier: Apache-2.0
#include "support/daemon.h"

#include <cstdlib>
#include <optional>
#include <stdexcept>
#include <zmq.hpp>

namespace sluice::test {
namespace {

using Clock = std::chrono::steady_clock;

// nullopt: no answer in time.
std::optional<v1::Reply> AskWithin(const std::string& run_dir, const v1::Request& request,
                                   std::chrono::milliseconds timeout) {
  zmq::context_t context(1);
  zmq::socket_t socket(context, zmq::socket_type::req);
  socket.set(zmq::sockopt::linger, 0);
  socket.set(zmq::sockopt::reconnect_ivl, 10);
  socket.set(zmq::sockopt::rcvtimeo, static_cast<int>(timeout.count()));
  socket.connect("ipc://" + run_dir + "/control");
  socket.send(zmq::buffer(request.SerializeAsString()), zmq::send_flags::none);
  zmq::message_t answer;
  if (!socket.recv(answer)) return std::nullopt;
  v1::Reply reply;
  if (!reply.ParseFromArray(answer.data(), static_cast<int>(answer.size()))) throw std::runtime_error("not a Reply");
  return reply;
}

}  // namespace

std::string BinDir() {
  const char* other = std::getenv("SLUICE_TEST_BIN_DIR");
  return other != nullptr ? other : SLUICE_BIN_DIR;
}

Daemon::Daemon(const std::vector<std::string>& args, const Netns* netns) : netns_(netns) { StartAgain(args); }

void Daemon::StartAgain(const std::vector<std::string>& args) {
  std::vector<std::string> argv{BinDir() + "/sluiced", "--run-dir", dir_.path()};
  argv.insert(argv.end(), args.begin(), args.end());
  process_ = std::make_unique<Process>(argv, ProcessOptions{.netns = netns_});
  v1::Request request;
  request.mutable_status();
  const auto deadline = Clock::now() + std::chrono::seconds(10);
  while (Clock::now() < deadline) {
    // In slices, so that a daemon that ends at once is noticed at once.
    if (AskWithin(dir_.path(), request, std::chrono::milliseconds(500))) return;
    if (process_->Wait(std::chrono::milliseconds(0))) break;
  }
  throw std::runtime_error("sluiced does not answer:\n" + process_->Out() + process_->Err());
}

Daemon::~Daemon() { process_->Terminate(); }

v1::Reply Daemon::Ask(const v1::Request& request) const {
  auto reply = AskWithin(dir_.path(), request, std::chrono::seconds(10));
  if (!reply) throw std::runtime_error("no answer from sluiced:\n" + process_->Out() + process_->Err());
  return *std::move(reply);
}

Completed Daemon::Ctl(const std::vector<std::string>& words) const {
  std::vector<std::string> argv{BinDir() + "/sluicectl"};
  argv.insert(argv.end(), words.begin(), words.end());
  return RunCommand(argv, {.env = {{"SLUICE_RUN_DIR", dir_.path()}}});
}

}  // namespace sluice::test
