// SPDX-License-Identifier: Apache-2.0
#include "pass_tables.h"

#include <bpf/bpf.h>

#include <algorithm>
#include <array>
#include <utility>

#include "sluice/plugin.h"
#include "table_serial.h"

namespace sluice::xdp {
namespace {

Error NeedsRecirc() {
  return {"needs_recirc", "recirc, tnl_* and ct need the recirc plugin: sluicectl plugin load recirc"};
}

}  // namespace

PassTables::PassTables(std::unique_ptr<PassMaps> maps, const Settings& settings, Parts parts)
    : maps_(std::move(maps)),
      settings_(settings),
      parts_(std::move(parts)),
      steps_(maps_->steps()),
      slots_(*maps_, parts_.reclaimer),
      gone_(SLUICE_PASS_PORTS),
      missing_(NeedsRecirc()) {}

PassTables::~PassTables() = default;

// ---- What the core says.

void PassTables::OnExtension(const v1::Extension& extension) {
  const auto provided = extension.provides().find(kProvidesPasses);
  const bool brings = extension.serial() != 0 && provided != extension.provides().end();
  if (!brings) {
    if (!plugin_.empty() && extension.plugin() == plugin_) Depart();
    return;
  }
  if (!plugin_.empty() && plugin_ != extension.plugin()) {
    parts_.log(SLUICE_LOG_WARN, "plugin " + extension.plugin() + " brings programs for later passes, as plugin " +
                                    plugin_ + " does: the latter's are used");
    return;
  }
  confirmed_ = true;
  if (!plugin_.empty() && serial_ == extension.serial()) return;
  plugin_ = extension.plugin();
  serial_ = extension.serial();
  Arrive(provided->second);
}

Result<PassTables::Generation> PassTables::Load(const std::string& path) const {
  PassOptions options;
  options.path = path;
  options.max_flows = settings_.max_flows;
  options.cache_entries = settings_.cache;
  options.depth = settings_.depth;
  options.ports_fd = parts_.groups.ports_fd();
  options.frags_ports_fd = parts_.groups.ports_fd(/*frags=*/true);
  options.groups_fd = parts_.groups.groups_fd();
  auto object = PassObject::Load(*maps_, options);
  if (!object) return object.error();
  auto generation = std::make_unique<PassGeneration>();
  generation->serial = NextTableSerial();
  generation->object = std::move(*object);
  auto table = MakeFlowTable(generation->object->object(), parts_.reclaimer, parts_.listener);
  if (!table) return table.error();
  generation->table = std::move(*table);
  return generation;
}

void PassTables::Arrive(const std::string& path) {
  auto loaded = Load(path);
  // With no other generation there, packets may have these programs at once: nothing leads to them yet.
  if (loaded && current_ == nullptr) {
    if (auto entered = (*loaded)->object->Enter(); !entered) loaded = entered.error();
  }
  const bool returned = std::exchange(departing_, false);
  if (!loaded) {
    const std::string why = "the programs of plugin " + plugin_ + ": " + loaded.error().detail;
    parts_.log(SLUICE_LOG_ERROR, current_ == nullptr ? why : why + "; those that it brought before go on");
    missing_ = {"needs_recirc", why};
    resync_ |= returned && heard_;
  } else if (current_ == nullptr) {
    current_ = *std::move(loaded);
    resync_ |= heard_;
  } else {
    Drop(std::exchange(next_, *std::move(loaded)));
    retold_ = !heard_;  // it may be the beginning of a resync
    resync_ |= heard_;
  }
  departed_ = false;
  parts_.changed();
}

void PassTables::Depart() {
  plugin_.clear();
  serial_ = 0;
  confirmed_ = true;
  missing_ = NeedsRecirc();
  Drop(std::exchange(next_, nullptr));
  if (current_ != nullptr) {
    departing_ = true;
    retold_ = !heard_;
    resync_ |= heard_;
  }
  parts_.changed();
}

void PassTables::OnChange() {
  if (!confirmed_) Depart();  // the core does not know it (any more)
  heard_ = true;
}

void PassTables::OnResync() {
  confirmed_ = plugin_.empty();
  heard_ = false;
  retold_ = true;
  resync_ = false;
}

void PassTables::OnSynced() {
  OnChange();
  if (!retold_) return;
  if (departing_ && !departed_) {
    departed_ = true;
    parts_.reclaimer.AfterGrace(alive_, [this, serial = current_->serial] { Clear(serial); });
  }
  if (next_ == nullptr) return;
  if (const auto entered = next_->object->Enter(); !entered) {
    parts_.log(SLUICE_LOG_ERROR, entered.error().detail + "; the programs of later passes stay what they were");
    if (const auto back = current_->object->Enter(); !back) parts_.log(SLUICE_LOG_ERROR, back.error().detail);
    Drop(std::exchange(next_, nullptr));
    parts_.changed();
    return;
  }
  draining_.push_back(std::exchange(current_, std::exchange(next_, nullptr)));
  parts_.reclaimer.AfterGrace(alive_, [this, serial = draining_.back()->serial] { DropDrained(serial); });
  parts_.changed();
}

void PassTables::DropDrained(uint64_t serial) {
  const auto found = std::find_if(draining_.begin(), draining_.end(),
                                  [&](const Generation& generation) { return generation->serial == serial; });
  if (found == draining_.end()) return;
  Generation generation = std::move(*found);
  draining_.erase(found);
  Drop(std::move(generation));
}

void PassTables::Clear(uint64_t serial) {
  if (!departed_ || current_ == nullptr || current_->serial != serial) return;  // it has come back
  if (const auto cleared = maps_->Clear(); !cleared) parts_.log(SLUICE_LOG_ERROR, cleared.error().detail);
  departing_ = departed_ = false;
  Drop(std::exchange(current_, nullptr));
}

// No packet is in it (any more).
void PassTables::Drop(Generation generation) {
  if (generation == nullptr) return;
  parts_.before(*generation->table);
  generation->table->Abandon();  // it goes as a whole
  for (uint32_t slot = 0; slot < gone_.size(); ++slot) {
    const auto counters = generation->object->ReadCounters(slot);
    for (size_t i = 0; i < SLUICE_PASS_COUNTER_SLOTS; ++i) gone_[slot].values[i] += counters.values[i];
  }
  generation.reset();
  parts_.after();
}

// ---- For flows.

std::vector<const PassGeneration*> PassTables::targets() const {
  std::vector<const PassGeneration*> targets;
  if (departing_) return targets;
  if (current_ != nullptr) targets.push_back(current_.get());
  if (next_ != nullptr) targets.push_back(next_.get());
  return targets;
}

const PassObject* PassTables::programs() const {
  if (departing_ || current_ == nullptr) return nullptr;
  return (next_ != nullptr ? next_ : current_)->object.get();
}

FlowTable* PassTables::BySerial(uint64_t serial) const {
  for (const Generation* generation : {&current_, &next_}) {
    if (*generation != nullptr && (*generation)->serial == serial) return (*generation)->table.get();
  }
  for (const Generation& generation : draining_) {
    if (generation->serial == serial) return generation->table.get();
  }
  return nullptr;
}

void PassTables::ForEachTable(const std::function<void(FlowTable& table)>& call) const {
  for (const Generation* generation : {&current_, &next_}) {
    if (*generation != nullptr) call(*(*generation)->table);
  }
  for (const Generation& generation : draining_) call(*generation->table);
}

PassObject::Counters PassTables::CountersOf(uint32_t slot) const {
  PassObject::Counters sum = gone_[slot];
  const auto add = [&](const PassGeneration& generation) {
    const auto counters = generation.object->ReadCounters(slot);
    for (size_t i = 0; i < SLUICE_PASS_COUNTER_SLOTS; ++i) sum.values[i] += counters.values[i];
  };
  if (current_ != nullptr) add(*current_);
  for (const Generation& generation : draining_) add(*generation);
  return sum;
}

// ---- Programs that go on without us.

Result<void> PassTables::Keep() {
  if (current_ == nullptr) return {};
  const auto [inside, inside_frags] = current_->object->tail_calls_fds();
  const std::array<int, 4> fds = {inside, inside_frags, maps_->programs_fd(false), maps_->programs_fd(true)};
  if (auto pinned = parts_.kept.PinPasses(fds, current_->object->object().MapFd("stats")); !pinned) return pinned;
  current_->table->Abandon();
  if (next_ != nullptr) next_->table->Abandon();
  return {};
}

void PassTables::WriteKept(const std::string& epoch, const std::vector<KeptFlow>& flows) const {
  if (current_ != nullptr) WriteKeptFlows(parts_.kept.PassCountsPath(), epoch, flows);
}

std::optional<KeptCounts> PassTables::OpenKept(const std::string& epoch) const {
  UniqueFd stats(bpf_obj_get(parts_.kept.PassStatsPath().c_str()));
  if (!stats) return std::nullopt;
  return KeptCounts::Open(parts_.kept.PassCountsPath(), epoch, std::move(stats));
}

}  // namespace sluice::xdp
