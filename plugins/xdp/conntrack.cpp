// SPDX-License-Identifier: Apache-2.0
#include "conntrack.h"

#include <bpf/btf.h>

#include <fstream>
#include <memory>
#include <string_view>

namespace sluice::xdp {
namespace {

struct Free {
  void operator()(btf* types) const { btf__free(types); }
};
using Types = std::unique_ptr<btf, Free>;

constexpr std::array<const char*, 8> kFunctions = {
    "bpf_xdp_ct_lookup",  "bpf_xdp_ct_alloc",      "bpf_ct_insert_entry",  "bpf_ct_release",
    "bpf_ct_set_timeout", "bpf_ct_change_timeout", "bpf_ct_change_status", "bpf_ct_set_status"};

constexpr uint32_t kOptsSize = 12;           // without a zone
constexpr uint32_t kOptsSizeWithZones = 16;  // what the programs know of more recent ones

struct Timeout {
  const char* name;
  uint32_t seconds;  // the kernel's default
};
// In the order of enum sluice_ct_timeout.
constexpr std::array<Timeout, SLUICE_CT_TIMEOUTS> kTimeouts = {{
    {"tcp_timeout_syn_sent", 120},
    {"tcp_timeout_syn_recv", 60},
    {"tcp_timeout_established", 432000},
    {"tcp_timeout_fin_wait", 120},
    {"tcp_timeout_close", 10},
    {"tcp_timeout_unacknowledged", 300},
    {"udp_timeout", 30},
    {"udp_timeout_stream", 120},
    {"icmp_timeout", 30},
}};

bool HasMember(const btf* types, const btf_type* type, std::string_view name) {
  const btf_member* members = btf_members(type);
  for (int i = 0; i < btf_vlen(type); ++i) {
    const char* member = btf__name_by_offset(types, members[i].name_off);
    if (member != nullptr && member == name) return true;
  }
  return false;
}

}  // namespace

Conntrack ProbeConntrack() {
  Conntrack conntrack;
  for (size_t i = 0; i < kTimeouts.size(); ++i) {
    conntrack.timeouts[i] = kTimeouts[i].seconds;
    uint32_t seconds = 0;
    if (std::ifstream(std::string("/proc/sys/net/netfilter/nf_conntrack_") + kTimeouts[i].name) >> seconds) {
      conntrack.timeouts[i] = seconds;
    }
  }
  conntrack.opts_size = kOptsSize;

  const Types kernel(btf__load_vmlinux_btf());
  if (!kernel) {
    conntrack.why_not = "this kernel has no BTF (CONFIG_DEBUG_INFO_BTF), which ct needs";
    return conntrack;
  }
  const Types module(btf__load_module_btf("nf_conntrack", kernel.get()));
  const btf* types = module ? module.get() : kernel.get();  // what is in the kernel's is found in a module's, too
  for (const char* function : kFunctions) {
    if (btf__find_by_name_kind(types, function, BTF_KIND_FUNC) > 0) continue;
    conntrack.why_not = std::string("this kernel has no ") + function +
                        (module ? "" : " (if nf_conntrack is a module: is it loaded?)") + ", which ct needs";
    return conntrack;
  }
  const int connection = btf__find_by_name_kind(types, "nf_conn", BTF_KIND_STRUCT);
  if (connection < 0 || !HasMember(types, btf__type_by_id(types, connection), "mark")) {
    conntrack.why_not = "this kernel's connections have no mark (CONFIG_NF_CONNTRACK_MARK), which ct needs";
    return conntrack;
  }
  const int opts = btf__find_by_name_kind(types, "bpf_ct_opts", BTF_KIND_STRUCT);
  conntrack.zones = opts > 0 && HasMember(types, btf__type_by_id(types, opts), "ct_zone_id");
  if (conntrack.zones) conntrack.opts_size = kOptsSizeWithZones;
  return conntrack;
}

}  // namespace sluice::xdp
