// SPDX-License-Identifier: Apache-2.0
// Actions, executed on one frame in user space. README.md tells what each does.
//
// No locks and no globals: each thread has its own Frame, and its own Sink unless that is thread-safe. Execute
// allocates nothing, unless a list pushes more tags than the frame's headroom holds (64).
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "packet.h"
#include "sluice/action.h"
#include "sluice/error.h"

namespace sluice::soft {

// The bytes of one frame, with room in front for tags. Keeps its memory from frame to frame.
class Frame {
 public:
  // Copies `bytes` (any length), in place of what was here before.
  void Assign(std::span<const uint8_t> bytes);

  // Valid until the frame is next assigned, grown or shrunk.
  [[nodiscard]] std::span<uint8_t> bytes() { return {buffer_.data() + begin_, size_}; }
  [[nodiscard]] std::span<const uint8_t> bytes() const { return {buffer_.data() + begin_, size_}; }
  [[nodiscard]] size_t size() const { return size_; }

  // `count` bytes more, of any value, in front of the others.
  void GrowFront(size_t count);
  // `count` bytes less; count <= size().
  void ShrinkFront(size_t count);

 private:
  std::vector<uint8_t> buffer_;
  size_t begin_ = 0;
  size_t size_ = 0;
};

// Where packets go. The spans are the frame's own bytes: copy what is to outlive the call. Execute calls it in the
// order of the actions; it must not call Execute on the same Frame.
class Sink {
 public:
  Sink() = default;
  Sink(const Sink&) = delete;
  Sink& operator=(const Sink&) = delete;
  virtual ~Sink() = default;

  virtual void Output(uint32_t port, std::span<const uint8_t> frame) = 0;
  // To every port but the one that the packet came in by, which the sink knows and Execute does not.
  virtual void Flood(std::span<const uint8_t> frame) = 0;
  // `frame`: the packet, or its beginning where a trunc(...) came before. The sink applies action.max_len. `length`: of
  // the packet uncut.
  virtual void ToController(const sluice::ToController& action, std::span<const uint8_t> frame, size_t length) = 0;

  // A dec_ttl found a TTL or hop limit of 1 or 0: its `expired` list follows. At most kMaxActionDepth times a packet.
  virtual void Expired() {}
  // The list ended and the packet went nowhere: none of the three above was called.
  virtual void Dropped() {}
};

// Whether Execute can do it all, nested lists included. Errors: "unsupported_action", naming the first action that it
// cannot, or lists nested deeper than kMaxActionDepth.
Result<void> Check(const Actions& actions);

// What Check takes, as capabilities name it: "output", "set(ipv4)", ...
std::vector<std::string> ExecutableActions();

// Executes `actions`, which Check has passed (what it would refuse is skipped), on `frame`, whose `headers` Parse found
// in the same bytes. The frame is edited in place: assign it anew before the next packet.
void Execute(const Actions& actions, Frame& frame, const Headers& headers, Sink& sink);

}  // namespace sluice::soft
