// SPDX-License-Identifier: Apache-2.0
// A controller on the bus that answers each upcall with a packet out, in a thread of its own.
#pragma once

#include <atomic>
#include <functional>
#include <thread>
#include <vector>

#include "sluice/endpoints.h"
#include "sluice/monitor.h"
#include "sluice/publisher.h"

namespace sluice::test {

class Controller {
 public:
  struct Settings {
    Endpoints endpoints;
    std::string actions;                           // of every packet out
    size_t hold = 0;                               // packets are held until there are that many, then all sent
    int high_water_mark = 10000;                   // of its subscription
    std::function<void(const v1::Event&)> look{};  // at each event, before it is answered
  };

  // Returns when it is subscribed. Throws std::runtime_error where it does not get there.
  explicit Controller(Settings settings);
  ~Controller();
  Controller(const Controller&) = delete;
  Controller& operator=(const Controller&) = delete;

  [[nodiscard]] uint64_t heard() const { return heard_; }
  [[nodiscard]] uint64_t missed() const { return missed_; }  // by the stream's numbers

 private:
  void Work();
  void Take(v1::Events& message);

  const Settings settings_;
  Monitor monitor_;
  Publisher publisher_;
  std::vector<v1::PacketOut> held_;
  std::atomic<uint64_t> heard_ = 0;
  std::atomic<uint64_t> missed_ = 0;
  std::atomic<bool> stop_ = false;
  std::thread thread_;
};

}  // namespace sluice::test
