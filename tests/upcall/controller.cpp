// SPDX-License-Identifier: Apache-2.0
#include "controller.h"

#include <gtest/gtest.h>

#include <stdexcept>

namespace sluice::test {
namespace {

constexpr auto kPatience = std::chrono::seconds(20);

template <typename T>
T OrThrow(Result<T> result) {
  if (!result) throw std::runtime_error(result.error().reason + ": " + result.error().detail);
  return *std::move(result);
}

Monitor::Settings MonitorSettings(const Controller::Settings& settings) {
  Monitor::Settings monitor;
  monitor.endpoints = settings.endpoints;
  monitor.topics = {"upcall", "heartbeat"};
  monitor.high_water_mark = settings.high_water_mark;
  monitor.whole_upcalls = true;
  return monitor;
}

Publisher::Settings PublisherSettings(const Controller::Settings& settings) {
  Publisher::Settings publisher;
  publisher.endpoint = settings.endpoints.ingress;
  publisher.name = "controller";
  publisher.block = kPatience;
  return publisher;
}

}  // namespace

Controller::Controller(Settings settings)
    : settings_(std::move(settings)),
      monitor_(OrThrow(Monitor::Open(MonitorSettings(settings_)))),
      publisher_(OrThrow(Publisher::Connect(PublisherSettings(settings_)))) {
  if (auto ready = publisher_.WaitReady(); !ready) throw std::runtime_error(ready.error().detail);
  // The first heartbeat says that the subscription is in force.
  if (!monitor_.Next(kPatience)) throw std::runtime_error("no heartbeat");
  thread_ = std::thread([this] { Work(); });
}

Controller::~Controller() {
  stop_ = true;
  thread_.join();
}

void Controller::Work() {
  while (!stop_) {
    const auto item = monitor_.Next(std::chrono::milliseconds(50));
    if (!item) continue;
    if (const auto* gap = std::get_if<GapDetected>(&*item)) missed_ += gap->missed;
    if (const auto* upcalls = std::get_if<UpcallsReceived>(&*item)) Take(*upcalls->message);
  }
}

void Controller::Take(v1::Events& message) {
  for (v1::Event& event : *message.mutable_events()) {
    ++heard_;
    if (settings_.look) settings_.look(event);
    v1::PacketOut& packet = held_.emplace_back();
    packet.set_in_port(event.upcall().in_port());
    packet.set_data(std::move(*event.mutable_upcall()->mutable_data()));
    packet.set_actions(settings_.actions);
  }
  if (held_.size() < settings_.hold) return;
  for (auto& packet : held_) EXPECT_TRUE(publisher_.PacketOut(std::move(packet)));
  held_.clear();
  EXPECT_TRUE(publisher_.Flush());
}

}  // namespace sluice::test
