/* SPDX-License-Identifier: Apache-2.0 */
/* A plugin of somebody else's: takes every flow, and says how many it has seen. */
#include <sluice/plugin.h>
#include <stdio.h>
#include <stdlib.h>

struct counting {
  struct sluice_session* session;
  unsigned long flows;
};

static int Put(void* user, const struct sluice_flow* flow, char* reason, char* detail) {
  struct counting* self = user;
  (void)reason;
  (void)flow;
  snprintf(detail, 256, "flow number %lu", ++self->flows);
  return SLUICE_INSTALLED;
}

static const struct sluice_session_ops kOps = {.struct_size = sizeof(kOps), .fields = "*", .actions = "*", .put = Put};

static int Start(const struct sluice_plugin_host* host, void** instance, char* error, size_t error_size) {
  struct counting* self = calloc(1, sizeof(*self));
  if (self != NULL) self->session = sluice_session_start(host, "1.0", &kOps, self);
  if (self == NULL || self->session == NULL) {
    free(self);
    snprintf(error, error_size, "no session");
    return -1;
  }
  *instance = self;
  return 0;
}

static void Stop(void* instance) {
  struct counting* self = instance;
  sluice_session_stop(self->session);
  free(self);
}

struct sluice_plugin_descriptor sluice_plugin = {
    .magic = SLUICE_PLUGIN_MAGIC,
    .abi_version = SLUICE_PLUGIN_ABI,
    .struct_size = sizeof(sluice_plugin),
    .name = "counting",
    .version = "1.0",
    .start = Start,
    .stop = Stop,
};
