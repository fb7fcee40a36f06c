// SPDX-License-Identifier: Apache-2.0
// A device that is none: takes the rules that its abilities allow, keeps a list of what was asked, and fails as told.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <vector>

#include "offload/flow_api.h"

namespace sluice::rteflow {

class FakeDevice : public FlowApi {
 public:
  // What it can. The actions are those that an ActionsText begins with ("mark", "count", "represented_port", ...).
  struct Abilities {
    bool transfer = true;
    bool ingress = true;
    std::vector<std::string> actions{"count",
                                     "drop",
                                     "represented_port",
                                     "port_id",
                                     "mark",
                                     "queue",
                                     "rss",
                                     "modify_field",
                                     "set_mac_dst",
                                     "sample",
                                     "of_push_vlan",
                                     "of_set_vlan_vid",
                                     "of_set_vlan_pcp"};
    bool mark_alone = true;  // without queue or rss
    uint32_t priorities = 65536;
    uint32_t most_mark = 0xffffffff;
    bool resets = true;  // counters, when told to
    bool counts_bytes = true;
    size_t capacity = SIZE_MAX;
    std::vector<rte_flow_item_type> no_items;  // that it does not match
    bool validates = true;                     // has such a function
    bool lies = false;                         // and it says yes to everything
    bool one_per_pattern = false;              // EEXIST for a second rule with the same items
  };

  explicit FakeDevice(const Abilities& abilities) : can(abilities) {}
  ~FakeDevice() override;

  int Validate(const rte_flow_attr& attr, const rte_flow_item* pattern, const rte_flow_action* actions,
               rte_flow_error& error) override;
  rte_flow* Create(const rte_flow_attr& attr, const rte_flow_item* pattern, const rte_flow_action* actions,
                   rte_flow_error& error) override;
  int Destroy(rte_flow* rule, rte_flow_error& error) override;
  int QueryCount(rte_flow* rule, rte_flow_query_count& count, rte_flow_error& error) override;
  int Flush(rte_flow_error& error) override;

  struct Rule {
    rte_flow_attr attr;
    std::string pattern;
    std::string actions;
    uint64_t packets = 0;
    uint64_t bytes = 0;
  };
  // As the plugin sees it.
  static Rule& Of(rte_flow* handle) { return *reinterpret_cast<Rule*>(handle); }

  // Since the last call, each as "transfer: count, represented_port 12", "ingress: mark 7, count"; of those that were
  // validated and created twice: once.
  std::vector<std::string> Asked();
  [[nodiscard]] size_t rules() const { return rules_.size(); }

  Abilities can;
  int fail_create = 0;   // errno of all creates from now on
  int fail_query = 0;    // of all queries
  int fail_destroy = 0;  // of all destroys
  size_t creates = 0, validates = 0;

 private:
  int Judge(const rte_flow_attr& attr, const rte_flow_item* pattern, const rte_flow_action* actions,
            rte_flow_error& error) const;
  void Note(const rte_flow_attr& attr, const rte_flow_action* actions);

  std::vector<std::unique_ptr<Rule>> rules_;
  std::vector<std::string> asked_;
};

}  // namespace sluice::rteflow
