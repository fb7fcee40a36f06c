// SPDX-License-Identifier: Apache-2.0
// Where the packets of one traced action go.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "soft/execute.h"
#include "trace.h"

namespace sluice::ctl {

// Says in output.warning why the frame may not leave by output.port.
void WarnOf(const TracePlace& place, TraceOutput& output);

// A list of actions up to the one that `step` is of: passes over the first `sent_before` things that it sends, which
// were noted in earlier steps, and notes the rest.
class StepSink : public soft::Sink {
 public:
  StepSink(const TracePlace& place, size_t sent_before, TraceStep& step)
      : place_(place), sent_before_(sent_before), step_(step) {}

  void Output(uint32_t port, std::span<const uint8_t> frame) override;
  void Flood(std::span<const uint8_t> frame) override;
  void ToController(const sluice::ToController& action, std::span<const uint8_t> frame, size_t length) override;
  void Expired() override { ++expired_; }

  [[nodiscard]] size_t sent() const { return sent_; }
  [[nodiscard]] size_t expired() const { return expired_; }

 private:
  void Leave(uint32_t number, std::span<const uint8_t> frame);

  const TracePlace& place_;
  const size_t sent_before_;
  TraceStep& step_;
  size_t sent_ = 0;
  size_t expired_ = 0;
};

}  // namespace sluice::ctl
