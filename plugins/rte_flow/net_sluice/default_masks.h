// SPDX-License-Identifier: Apache-2.0
// The masks that items have which bring none. rte_flow.h defines them for C only.
#pragma once

#include <rte_flow.h>

#ifdef __cplusplus
extern "C" {
#endif

// Laid out as the item; NULL: net_sluice knows no such item.
const void* sluice_default_mask(enum rte_flow_item_type type);

#ifdef __cplusplus
}
#endif
