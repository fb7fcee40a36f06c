// SPDX-License-Identifier: Apache-2.0
// Ports: their names, their numbers, and which plugin has them.
//
// A name keeps its number for as long as the port, or any flow that refers to it, is there; only then is the number
// given to another name. Each attachment of a name is an entry of its own in the journal, so that a plugin always
// learns of the end of one before the beginning of the next. The loop's thread only.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "flow.h"
#include "journal.h"
#include "sluice/error.h"
#include "sluice/flow_text.h"
#include "sluice/sluice.pb.h"

namespace sluice::core {

struct PortEntry : Entry {
  PortEntry() : Entry(EntryKind::port) {}

  v1::Port port;
  bool offered = false;        // its plugin has been told of it
  uint64_t removal_batch = 0;  // tombstone: the batch that told its plugin; 0: not yet
  bool reported = false;       // the plugin has said how it is since it was offered
};

class Ports {
 public:
  explicit Ports(Journal& journal) : journal_(journal) {}
  ~Ports();
  Ports(const Ports&) = delete;
  Ports& operator=(const Ports&) = delete;

  // In state "pending". Errors: "bad_port_name", "port_exists".
  Result<PortEntry*> Add(const std::string& name, const std::string& plugin,
                         const std::map<std::string, std::string>& options);
  // Becomes a tombstone for its plugin, or goes at once where that was never told of it. True: at once.
  bool Remove(PortEntry& entry);
  // The plugin has acknowledged the batch: tombstones told in it or before go. Returns their names.
  std::vector<std::string> Confirm(const std::string& plugin, uint64_t batch);
  // The plugin is gone or begins anew: its tombstones go (returns their names), its ports are pending, with this
  // detail, and not offered.
  std::vector<std::string> Forget(const std::string& plugin, const std::string& detail);

  [[nodiscard]] PortEntry* Find(const std::string& name) const;
  [[nodiscard]] std::vector<PortEntry*> All() const;  // by number
  [[nodiscard]] std::vector<PortEntry*> Of(const std::string& plugin) const;
  [[nodiscard]] size_t size() const;

  // References from flows.
  void Hold(const Flow& flow);
  void Release(const Flow& flow);

  // Live() knows the ports there are: what a put may refer to. Known() also those that flows still refer to.
  [[nodiscard]] const PortNames& Live() const { return live_; }
  [[nodiscard]] const PortNames& Known() const { return known_; }
  [[nodiscard]] bool IsLive(uint32_t number) const;
  // Another number: names and numbers of Live() may mean something else than before.
  [[nodiscard]] uint64_t generation() const { return generation_; }

 private:
  class Names : public PortNames {
   public:
    Names(const Ports& ports, bool live_only) : ports_(ports), live_only_(live_only) {}
    [[nodiscard]] std::optional<uint32_t> Number(std::string_view name) const override;
    [[nodiscard]] std::optional<std::string> Name(uint32_t number) const override;
    [[nodiscard]] bool AcceptsUnknownNumbers() const override { return false; }

   private:
    const Ports& ports_;
    bool live_only_;
  };
  struct Slot {
    std::string name;
    uint64_t references = 0;
    std::unique_ptr<PortEntry> entry;
  };

  uint32_t NumberFor(const std::string& name);
  void Reference(uint32_t number, int by);
  void DropIfUnused(std::map<uint32_t, Slot>::iterator slot);

  Journal& journal_;
  uint64_t generation_ = 0;
  std::map<uint32_t, Slot> slots_;
  std::map<std::string, uint32_t, std::less<>> numbers_;
  std::vector<std::unique_ptr<PortEntry>> removed_;  // tombstones
  Names live_{*this, true};
  Names known_{*this, false};
};

}  // namespace sluice::core
