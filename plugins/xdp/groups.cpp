// SPDX-License-Identifier: Apache-2.0
#include "groups.h"

#include <bpf/bpf.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <string>
#include <utility>

#include "action.h"
#include "inner_maps.h"
#include "object.h"
#include "system.h"

namespace sluice::xdp {
namespace {

constexpr uint32_t kFloodPorts = 64;  // room in the first flood group
constexpr size_t kHurry = 64;         // groups made at once for those who wait for one

Result<UniqueFd> NewDevmap(const char* name, uint32_t entries) {
  UniqueFd fd(bpf_map_create(BPF_MAP_TYPE_DEVMAP, name, 4, 4, entries, nullptr));
  if (!fd) return SystemErrorNeeding("Creating a BPF devmap", errno, {kCapBpf, kCapNetAdmin});
  return fd;
}

Result<void> SetDevice(int devmap, uint32_t index, uint32_t ifindex) {
  if (bpf_map_update_elem(devmap, &index, &ifindex, BPF_ANY) == 0) return {};
  return SystemErrorNeeding("Entering device " + std::to_string(ifindex) + " into a devmap", errno,
                            {kCapBpf, kCapNetAdmin});
}

}  // namespace

struct Groups::State {
  struct Slot {
    UniqueFd devmap;  // none: the slot was never used
    uint32_t room = 0;
    std::vector<uint32_t> ports;
  };

  UniqueFd outer;
  std::vector<Slot> slots;
  std::vector<uint32_t> spares;  // slots with an empty devmap
  std::vector<uint32_t> unused;  // slots without a devmap
  std::vector<size_t> wanted;    // sizes of sets that found no slot
  bool refilling = false;
  Result<void> refill_result;  // an error is for the first who then finds no slot
  std::map<std::vector<uint32_t>, std::weak_ptr<const Group>> in_use;

  void Release(const Group& group) {
    Slot& slot = slots[group.index];
    for (uint32_t i = 0; i < group.ports.size(); ++i) bpf_map_delete_elem(slot.devmap.get(), &i);
    slot.ports.clear();
    in_use.erase(group.ports);
    spares.push_back(group.index);
  }
};

struct Groups::Refilling {
  std::vector<uint32_t> indexes;
  std::vector<uint32_t> rooms;
  std::vector<InnerMap> maps;
  Result<void> result;
  bool awaited = false;  // somebody was told to come again
};

Groups::Groups(Reclaimer& reclaimer, Options options)
    : reclaimer_(reclaimer), options_(options), state_(std::make_shared<State>()) {}

Groups::~Groups() = default;

Result<std::unique_ptr<Groups>> Groups::Create(Reclaimer& reclaimer, Options options) {
  std::unique_ptr<Groups> groups(new Groups(reclaimer, options));  // NOLINT: the constructor is private
  if (auto created = groups->CreateMaps(); !created) return created.error();
  groups->Refill();
  return groups;
}

Result<void> Groups::CreateMaps() {
  for (UniqueFd* map : {&ports_, &frags_ports_}) {
    auto ports = NewDevmap("ports", kMaxPort + 1);
    if (!ports) return ports.error();
    *map = *std::move(ports);
  }

  auto flood = NewDevmap("group", kFloodPorts);
  if (!flood) return flood.error();
  LIBBPF_OPTS(bpf_map_create_opts, options, .inner_map_fd = static_cast<uint32_t>(flood->get()));
  state_->outer = UniqueFd(bpf_map_create(BPF_MAP_TYPE_ARRAY_OF_MAPS, "groups", 4, 4, options_.max_groups, &options));
  if (!state_->outer) return SystemErrorNeeding("Creating a BPF map of devmaps", errno, {kCapBpf, kCapNetAdmin});
  state_->slots.resize(options_.max_groups);
  for (uint32_t index = options_.max_groups; index-- > SLUICE_GROUP_FLOOD + 1;) state_->unused.push_back(index);
  state_->slots[SLUICE_GROUP_FLOOD] = {*std::move(flood), kFloodPorts, {}};
  const uint32_t key = SLUICE_GROUP_FLOOD;
  const int fd = state_->slots[key].devmap.get();
  if (bpf_map_update_elem(state_->outer.get(), &key, &fd, BPF_ANY) != 0) {
    return SystemError("Entering the flood group", errno);
  }
  return {};
}

int Groups::groups_fd() const { return state_->outer.get(); }

size_t Groups::groups_in_use() const { return state_->in_use.size(); }

uint32_t Groups::Ifindex(uint32_t number) const {
  const auto found = ifindex_.find(number);
  return found == ifindex_.end() ? 0 : found->second;
}

Result<void> Groups::GrowFlood(size_t ports) {
  State::Slot& slot = state_->slots[SLUICE_GROUP_FLOOD];
  const auto room = static_cast<uint32_t>(std::bit_ceil(ports));
  auto devmap = NewDevmap("group", room);
  if (!devmap) return devmap.error();
  for (const auto& [number, place] : flood_place_) {
    if (auto set = SetDevice(devmap->get(), place, Ifindex(number)); !set) return set;
  }
  std::vector<InnerMap> maps(1);
  maps[0] = {SLUICE_GROUP_FLOOD, *std::move(devmap)};
  if (auto inserted = InsertInnerMaps(state_->outer.get(), maps); !inserted) return inserted;
  slot.devmap = std::move(maps[0].fd);
  slot.room = room;
  return {};
}

Result<void> Groups::SetFlood(uint32_t number, uint32_t ifindex) {
  uint32_t place = 0;
  if (const auto known = flood_place_.find(number); known != flood_place_.end()) {
    place = known->second;
  } else {
    std::vector<bool> taken(flood_place_.size() + 1);
    for (const auto& [other, its_place] : flood_place_) {
      if (its_place < taken.size()) taken[its_place] = true;
    }
    place = static_cast<uint32_t>(std::find(taken.begin(), taken.end(), false) - taken.begin());
  }
  if (place >= state_->slots[SLUICE_GROUP_FLOOD].room) {
    if (auto grown = GrowFlood(place + 1); !grown) return grown;
  }
  if (auto set = SetDevice(state_->slots[SLUICE_GROUP_FLOOD].devmap.get(), place, ifindex); !set) return set;
  flood_place_[number] = place;
  return {};
}

Result<void> Groups::SetPort(uint32_t number, uint32_t ifindex) {
  if (number < 1 || number > kMaxPort) {
    return Error{"table_full", "Port number " + std::to_string(number) + " is beyond the " + std::to_string(kMaxPort) +
                                   " that the XDP plugin has room for"};
  }
  const uint32_t before = std::exchange(ifindex_[number], ifindex);
  auto entered = Enter(number, ifindex);
  if (entered) return entered;
  if (before == 0) {
    ClearPort(number);
  } else {
    ifindex_[number] = before;
    (void)Enter(number, before);
  }
  return entered;
}

// Wherever it stands.
Result<void> Groups::Enter(uint32_t number, uint32_t ifindex) {
  for (const UniqueFd* map : {&ports_, &frags_ports_}) {
    if (auto set = SetDevice(map->get(), number, ifindex); !set) return set;
  }
  if (auto set = SetFlood(number, ifindex); !set) return set;
  for (const State::Slot& slot : state_->slots) {
    for (uint32_t i = 0; i < slot.ports.size(); ++i) {
      if (slot.ports[i] != number) continue;
      if (auto set = SetDevice(slot.devmap.get(), i, ifindex); !set) return set;
    }
  }
  return {};
}

void Groups::ClearPort(uint32_t number) {
  if (ifindex_.erase(number) == 0) return;
  for (const UniqueFd* map : {&ports_, &frags_ports_}) bpf_map_delete_elem(map->get(), &number);
  if (const auto place = flood_place_.find(number); place != flood_place_.end()) {
    bpf_map_delete_elem(state_->slots[SLUICE_GROUP_FLOOD].devmap.get(), &place->second);
    flood_place_.erase(place);
  }
  for (const State::Slot& slot : state_->slots) {
    for (uint32_t i = 0; i < slot.ports.size(); ++i) {
      if (slot.ports[i] == number) bpf_map_delete_elem(slot.devmap.get(), &i);
    }
  }
}

Result<uint32_t> Groups::TakeSlot(size_t ports, Wait wait) {
  State& state = *state_;
  for (bool asked = false;; asked = true) {
    const auto fits = std::find_if(state.spares.begin(), state.spares.end(),
                                   [&](uint32_t index) { return state.slots[index].room >= ports; });
    if (fits != state.spares.end()) {
      const uint32_t index = *fits;
      state.spares.erase(fits);
      return index;
    }
    if (!state.refilling) {
      if (!state.refill_result) return std::exchange(state.refill_result, {}).error();
      if (state.unused.empty() && state.spares.empty()) {
        return Error{"table_full", "All " + std::to_string(options_.max_groups) + " sets of output ports are in use"};
      }
    }
    if (!asked && state.wanted.size() < kHurry) state.wanted.push_back(ports);
    Refill();
    if (wait == Wait::kForbidden) return NotYet("A set of output ports that is new");
    if (!reclaimer_.WaitOne()) return Error{"system", "No set of output ports is being made"};
  }
}

Result<std::shared_ptr<const Group>> Groups::Acquire(std::vector<uint32_t> ports, Wait wait) {
  std::sort(ports.begin(), ports.end());
  for (const uint32_t number : ports) {
    if (!HasPort(number)) return Error{"no_such_port", "There is no XDP port " + std::to_string(number)};
  }
  if (const auto known = state_->in_use.find(ports); known != state_->in_use.end()) {
    if (auto group = known->second.lock()) return group;
  }
  auto index = TakeSlot(ports.size(), wait);
  if (!index) return index.error();
  State::Slot& slot = state_->slots[*index];
  slot.ports = ports;
  std::shared_ptr<const Group> group(new Group{*index, ports}, [state = state_](const Group* released) {  // NOLINT
    state->Release(*released);
    delete released;  // NOLINT
  });
  state_->in_use[ports] = group;
  for (uint32_t i = 0; i < ports.size(); ++i) {
    if (auto set = SetDevice(slot.devmap.get(), i, Ifindex(ports[i])); !set) return set.error();
  }
  Refill();
  return group;
}

void Groups::Refill() {
  State& state = *state_;
  if (state.refilling || (state.wanted.empty() && state.spares.size() * 2 > options_.spares)) return;
  auto refilling = std::make_shared<Refilling>();
  refilling->awaited = !state.wanted.empty();
  if (refilling->awaited && state.unused.empty() && !state.spares.empty()) {
    state.unused.push_back(state.spares.back());  // too small as it is
    state.spares.pop_back();
  }
  const auto add = [&](size_t ports) {
    refilling->indexes.push_back(state.unused.back());
    refilling->rooms.push_back(static_cast<uint32_t>(std::bit_ceil(std::max<size_t>(ports, options_.spare_ports))));
    state.unused.pop_back();
  };
  for (const size_t ports : std::exchange(state.wanted, {})) {
    if (!state.unused.empty()) add(ports);
  }
  for (size_t spares = state.spares.size(); spares < options_.spares && !state.unused.empty(); ++spares) add(1);
  if (refilling->indexes.empty()) return;
  state.refilling = true;
  reclaimer_.Run(
      state_,
      [refilling, state = state_] {
        for (size_t i = 0; i < refilling->indexes.size(); ++i) {
          auto devmap = NewDevmap("group", refilling->rooms[i]);
          if (!devmap) {
            refilling->result = devmap.error();
            break;
          }
          refilling->maps.push_back({refilling->indexes[i], *std::move(devmap)});
        }
        // Some are better than none.
        if (!refilling->maps.empty()) refilling->result = InsertInnerMaps(state->outer.get(), refilling->maps);
      },
      [state = state_.get(), refilling] { Refilled(*state, *refilling); });
}

void Groups::Refilled(State& state, Refilling& refilling) {
  state.refilling = false;
  if (refilling.awaited) state.refill_result = refilling.result;
  if (!refilling.result) refilling.maps.clear();
  state.unused.insert(state.unused.end(), refilling.indexes.rbegin(),
                      refilling.indexes.rend() - static_cast<ptrdiff_t>(refilling.maps.size()));
  for (size_t i = 0; i < refilling.maps.size(); ++i) {
    const uint32_t index = refilling.maps[i].key;
    state.spares.push_back(index);
    state.slots[index] = {std::move(refilling.maps[i].fd), refilling.rooms[i], {}};
  }
}

}  // namespace sluice::xdp
