/* SPDX-License-Identifier: Apache-2.0 */
/* A plugin of an ABI that is not ours; its start() must never be called. */
#include <stdlib.h>

#include "sluice/plugin.h"

static int Start(const struct sluice_plugin_host* host, void** instance, char* error, size_t error_size) {
  (void)host, (void)instance, (void)error, (void)error_size;
  abort();
}

static void Stop(void* instance) { (void)instance; }

struct sluice_plugin_descriptor sluice_plugin = {
    .magic = SLUICE_PLUGIN_MAGIC,
    .abi_version = SLUICE_PLUGIN_ABI + 41,
    .struct_size = sizeof(sluice_plugin),
    .name = "wrong_abi",
    .version = "1",
    .start = Start,
    .stop = Stop,
};
