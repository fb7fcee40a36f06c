// SPDX-License-Identifier: Apache-2.0
// The core's ends of the bus, as far as a client sees them, with nothing behind: a test says what they say.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "sluice/endpoints.h"
#include "sluice/sluice.pb.h"
#include "sluice/unique_fd.h"
#include "zmq_socket.h"

namespace sluice::test {

inline constexpr auto kPatience = std::chrono::seconds(20);

// True as soon as `condition` holds; false if it does not within kPatience. `condition` is to wait a little itself.
template <typename Condition>
bool Eventually(Condition condition) {
  const auto deadline = std::chrono::steady_clock::now() + kPatience;
  while (!condition()) {
    if (std::chrono::steady_clock::now() >= deadline) return false;
  }
  return true;
}

class TempDir {
 public:
  TempDir();
  ~TempDir();
  TempDir(const TempDir&) = delete;
  TempDir& operator=(const TempDir&) = delete;
  [[nodiscard]] const std::string& path() const { return path_; }

 private:
  std::string path_;
};

// Ingress, control and events in a run directory of its own, served by a thread. Functions marked "core thread" are for
// the request handler and for what Do() runs.
class FakeCore {
 public:
  using Handler = std::function<v1::Reply(const v1::Request&)>;

  // Sockets are bound in `dir`; `listen` false: no ingress subscription until Listen().
  explicit FakeCore(const std::string& dir, std::string epoch = "e1", bool listen = true);
  ~FakeCore();
  FakeCore(const FakeCore&) = delete;
  FakeCore& operator=(const FakeCore&) = delete;

  [[nodiscard]] const Endpoints& endpoints() const { return endpoints_; }

  // Runs `work` in the core's thread and waits for it.
  void Do(const std::function<void()>& work);
  void SetHandler(Handler handler);
  // Subscribes on ingress.
  void Listen(const std::string& prefix = "");
  // Next message on ingress, topic and payload; nullopt if none comes in time.
  std::optional<std::pair<std::string, std::string>> NextPublished(std::chrono::milliseconds timeout = kPatience);

  // ---- core thread
  // An event with the next numbers; `lost`: counted, not sent.
  uint64_t Publish(const std::string& topic, v1::Event event, bool lost = false);
  void PublishFlow(const std::string& topic, const std::string& ufid, uint64_t packets = 0, bool lost = false);
  void PublishRaw(const std::string& topic, const std::string& payload);
  void Beat(uint64_t interval_ms = 1000);
  // As after a restart.
  void StartEpoch(const std::string& epoch);
  [[nodiscard]] uint64_t seq() const { return seq_; }
  // A reply that says yes, with epoch and sequence number.
  [[nodiscard]] v1::Reply Yes() const;
  // The next request is answered as one that cannot be read.
  void MisreadNextRequest() { misread_ = true; }
  // The answer to the next request is not sent.
  void LoseNextReply() { lose_reply_ = true; }

 private:
  void Run();
  void ServeControl();
  void ServeSubscriptions();

  Endpoints endpoints_;
  ZmqContext context_;
  ZmqSocket control_;
  ZmqSocket events_;
  ZmqSocket ingress_;
  UniqueFd wake_;
  std::mutex mutex_;
  std::vector<std::function<void()>> work_;
  bool quit_ = false;  // under mutex_
  Handler handler_;
  bool lose_reply_ = false;
  bool misread_ = false;
  std::string epoch_;
  uint64_t seq_ = 0;
  std::map<std::string, uint64_t> topic_seq_;
  std::thread thread_;
};

// The core's end of the plugin path, used from the test's own thread.
class FakePluginPath {
 public:
  // An inproc endpoint on a context to share, or `endpoint` on one of its own.
  FakePluginPath();
  explicit FakePluginPath(const std::string& endpoint);

  [[nodiscard]] void* context() const { return context_.handle(); }
  [[nodiscard]] const std::string& endpoint() const { return endpoint_; }
  // The next message that is more than a heartbeat.
  std::optional<v1::FromPlugin> Next(std::chrono::milliseconds timeout = kPatience);
  std::optional<v1::FromPlugin> NextOfAnyKind(std::chrono::milliseconds timeout = kPatience);
  void Send(const v1::ToPlugin& message);
  void SendRaw(const std::string& payload);

 private:
  std::string endpoint_;
  ZmqContext context_;
  ZmqSocket socket_;
  std::string identity_;
};

}  // namespace sluice::test
