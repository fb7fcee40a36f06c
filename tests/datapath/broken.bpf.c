/* SPDX-License-Identifier: (GPL-2.0-only OR Apache-2.0) */
/* The example of the contract, with one thing wrong in each case. A map that is renamed is one that is not there. */
#define CASE_NO_MAP 1
#define CASE_WRONG_TYPE 2
#define CASE_WRONG_VALUE 3
#define CASE_TOO_FEW 4
#define CASE_NOT_MAPPED 5
#define CASE_NO_PROGRAM 6
#define CASE_ACTION_WITHOUT_MAP 7
#define CASE_UNKNOWN_ACTION 8
#define CASE_NO_ABI 9
#define CASE_SHORT_FIELD 10
#define CASE_TAIL_CALL_WITHOUT_PROGRAM 11
#define CASE_ODD_KEY 12

#if CASE == CASE_NO_MAP
#define stats renamed
#elif CASE == CASE_WRONG_TYPE
#define ports renamed
#elif CASE == CASE_WRONG_VALUE || CASE == CASE_NOT_MAPPED
#define masks renamed
#elif CASE == CASE_TOO_FEW
#define mask_lists renamed
#elif CASE == CASE_NO_PROGRAM
#define sluice_xdp renamed
#elif CASE == CASE_ACTION_WITHOUT_MAP
#define SLUICE_CAN_DROP SLUICE_CAN_FLOOD = SLUICE_ACTION_FLOOD, SLUICE_CAN_DROP
#elif CASE == CASE_UNKNOWN_ACTION
#define SLUICE_CAN_OUTPUT SLUICE_CAN_FLY
#elif CASE == CASE_NO_ABI
#define abi other
#elif CASE == CASE_SHORT_FIELD
#define ipv4_dst eth_src
#elif CASE == CASE_TAIL_CALL_WITHOUT_PROGRAM
#define actions    \
  actions;         \
  struct {         \
    int not_there; \
  } tail_calls
#elif CASE == CASE_ODD_KEY
#define unused \
  one_more;    \
  __u8 others
#endif

#include "../../bpf/examples/ipv4_hosts.bpf.c"

#undef ports
#undef masks
#undef mask_lists
#if CASE == CASE_WRONG_TYPE
struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(max_entries, 65536);
  __type(key, __u32);
  __type(value, __u32);
} ports SEC(".maps");
#elif CASE == CASE_WRONG_VALUE
struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(map_flags, BPF_F_MMAPABLE);
  __uint(max_entries, 256);
  __type(key, __u32);
  __type(value, __u32);
} masks SEC(".maps");
#elif CASE == CASE_NOT_MAPPED
struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(max_entries, 256);
  __type(key, __u32);
  __type(value, __u64);
} masks SEC(".maps");
#elif CASE == CASE_TOO_FEW
struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(map_flags, BPF_F_MMAPABLE);
  __uint(max_entries, 2);
  __type(key, __u32);
  __type(value, struct sluice_mask_list);
} mask_lists SEC(".maps");
#endif
