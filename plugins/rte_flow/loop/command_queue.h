// SPDX-License-Identifier: Apache-2.0
// What the loop is told to do, in order, by one thread at a time.
#pragma once

#include <atomic>
#include <boost/lockfree/spsc_queue.hpp>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <variant>
#include <vector>

#include "datapath.h"
#include "sluice/unique_fd.h"

namespace sluice::rteflow {

struct PacketOutRequest {
  uint32_t port = 0;
  std::vector<uint8_t> frame;
  std::optional<Actions> actions;
};

namespace command {
struct AddPort {
  Datapath::Port port;
  std::shared_ptr<DatapathPortCounters> counters;
};
struct RemovePort {
  uint32_t number = 0;
};
struct Insert {
  DatapathFlow* flow = nullptr;
};
struct Remove {
  DatapathFlow* flow = nullptr;
};
struct PacketOut {
  std::shared_ptr<const PacketOutRequest> request;
};
struct Fence {
  uint64_t number = 0;
};
}  // namespace command

using Command = std::variant<command::Fence, command::AddPort, command::RemovePort, command::Insert, command::Remove,
                             command::PacketOut>;

class CommandQueue {
 public:
  CommandQueue();

  // ---- who tells
  // Waits while the queue is full; the loop empties it.
  void Push(const Command& command);
  // Negative: there is none.
  [[nodiscard]] int fd() const { return event_.get(); }
  // Ends a Sleep, now or the next.
  void Wake();

  // ---- the loop
  // At most `most` commands, to `execute`. How many there were.
  template <typename Execute>
  size_t Take(size_t most, Execute execute) {
    size_t count = 0;
    while (count < most && queue_.consume_one(execute)) ++count;
    if (count > 0) Taken();
    return count;
  }
  // Until there is a command, a Wake, or the time is over.
  void Sleep(uint32_t us);

 private:
  void Taken();

  boost::lockfree::spsc_queue<Command> queue_;
  UniqueFd event_;
  std::atomic<bool> sleeping_{false};
  std::atomic<uint32_t> taken_{0};  // grows (and wraps) each time that commands were taken
};

}  // namespace sluice::rteflow
