// SPDX-License-Identifier: Apache-2.0
// What outlives the plugin: which settings of devices it changed (a file in the daemon's run directory, so that even
// after a crash they can be turned back), and the pins under which a port goes on forwarding while no plugin is loaded.
#pragma once

#include <map>
#include <span>
#include <string>
#include <vector>

#include "sluice/error.h"
#include "veth.h"

namespace sluice::xdp {

// Makes sure that /sys/fs/bpf is a bpffs, mounting one where that is allowed.
Result<void> EnsureBpffs();

class KeptState {
 public:
  struct Entry {
    int ifindex = 0;  // the device was this one; another of the same name has nothing to do with it
    std::vector<SettingChange> changes;
    bool pinned = false;
  };

  // `name`: the plugin's in this daemon. Reads what an earlier one left; nothing to read is no error.
  KeptState(const std::string& run_dir, const std::string& name);

  [[nodiscard]] const std::map<std::string, Entry>& entries() const { return entries_; }
  // nullptr: nothing is kept about the port, or it was another device.
  [[nodiscard]] const Entry* Find(const std::string& port, int ifindex) const;
  // Both write the file.
  void Set(const std::string& port, Entry entry);
  void Erase(const std::string& port);
  // Turns back the settings, removes the pin and the entry: as if the port had never been.
  Result<void> Withdraw(const std::string& port);

  // In bpffs; the directory is there once MakePinDirectory has returned without an error.
  [[nodiscard]] std::string PinPath(int ifindex) const;
  [[nodiscard]] Result<void> MakePinDirectory() const;
  // Of map `tail_calls`, where the object has one: it would empty itself when the last descriptor goes.
  [[nodiscard]] std::string TailCallsPath(int ifindex) const { return PinPath(ifindex) + "_tail_calls"; }
  // Of the counts that go with a pin (kept_counts.h).
  [[nodiscard]] std::string CountsPath(int ifindex) const;
  // With its counts; and the directory, if it is empty then.
  void RemovePin(int ifindex) const;

  // What programs that go on need beside that, once for all ports: program arrays, which would empty themselves when
  // the last descriptor goes, and the counters of the table of later passes.
  [[nodiscard]] Result<void> PinPasses(std::span<const int> program_arrays, int stats) const;
  [[nodiscard]] std::string PassStatsPath() const { return pin_directory_ + "/pass_stats"; }
  [[nodiscard]] std::string PassCountsPath() const { return counts_ + "passes"; }
  // Of all earlier runs: no program that is pinned may need it.
  void RemovePasses() const;
  [[nodiscard]] bool HasPins() const;

 private:
  void Read();
  void Write() const;

  std::string file_;
  std::string counts_;
  std::string pin_directory_;
  std::map<std::string, Entry> entries_;  // by port
};

}  // namespace sluice::xdp
