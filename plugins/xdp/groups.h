// SPDX-License-Identifier: Apache-2.0
// The devices behind port numbers, and sets of them: the maps `ports` and `groups`, shared by all objects of a plugin.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <vector>

#include "reclaimer.h"
#include "sluice/error.h"
#include "sluice/unique_fd.h"
#include "wait.h"

namespace sluice::xdp {

// A set of output ports; packets go to all of them (`groups[index]`, a devmap). Lives as long as somebody holds it:
// flow tables hold it until no packet can be on its way to it any more.
struct Group {
  uint32_t index = 0;
  std::vector<uint32_t> ports;  // ascending; one twice gets the packet twice
};

// Session thread. Must outlive every Group that it gave out.
class Groups {
 public:
  struct Options {
    uint32_t max_groups = 1024;
    uint32_t spares = 8;       // kept ready; one more costs a grace period (9 to 30 ms)
    uint32_t spare_ports = 8;  // outputs that fit into a spare one; larger sets cost a grace period
  };
  // Errors: "system" and those of Object::Load about privileges.
  static Result<std::unique_ptr<Groups>> Create(Reclaimer& reclaimer) { return Create(reclaimer, Options{}); }
  static Result<std::unique_ptr<Groups>> Create(Reclaimer& reclaimer, Options options);
  ~Groups();
  Groups(const Groups&) = delete;
  Groups& operator=(const Groups&) = delete;

  // For ObjectOptions. There are two, with the same in them: the kernel lets programs that take packets of several
  // buffers (`frags`) and others not have the same devmap.
  [[nodiscard]] int ports_fd(bool frags = false) const { return frags ? frags_ports_.get() : ports_.get(); }
  [[nodiscard]] int groups_fd() const;

  // Port `number` (1 to kMaxPort) is device `ifindex` from now on: as an output, in floods, and in every group with it.
  // After an error it is what it was.
  Result<void> SetPort(uint32_t number, uint32_t ifindex);
  // Packets for it are counted as no_port and dropped from now on.
  void ClearPort(uint32_t number);
  [[nodiscard]] bool HasPort(uint32_t number) const { return ifindex_.contains(number); }
  [[nodiscard]] uint32_t Ifindex(uint32_t number) const;  // 0: none

  // The same set gives the same group. Has to wait where no spare one is left. Errors: "no_such_port", "table_full"
  // (max_groups), "system". After an error all is as before.
  Result<std::shared_ptr<const Group>> Acquire(std::vector<uint32_t> ports, Wait wait = Wait::kAllowed);
  [[nodiscard]] size_t groups_in_use() const;

 private:
  struct Refilling;
  struct State;  // what the deleters of the groups and the callbacks of the reclaimer share

  explicit Groups(Reclaimer& reclaimer, Options options);
  Result<void> CreateMaps();
  Result<void> Enter(uint32_t number, uint32_t ifindex);
  Result<void> SetFlood(uint32_t number, uint32_t ifindex);
  Result<void> GrowFlood(size_t ports);
  // Index of an empty group that has room for `ports`.
  Result<uint32_t> TakeSlot(size_t ports, Wait wait);
  // Has the Reclaimer make groups with room for those who were told to come again, and spares where there are few.
  void Refill();
  static void Refilled(State& state, Refilling& refilling);

  Reclaimer& reclaimer_;
  Options options_;
  UniqueFd ports_, frags_ports_;
  std::map<uint32_t, uint32_t> ifindex_;      // by port number
  std::map<uint32_t, uint32_t> flood_place_;  // port number to index in the flood group
  std::shared_ptr<State> state_;
};

}  // namespace sluice::xdp
