/* SPDX-License-Identifier: Apache-2.0 */
/* An offload plugin without a device, for the tests of sluicectl: takes every port but bad*, installs every flow but
 * those with ct(...), and says once of each that it forwarded 7 packets of 64 bytes with SYN and ACK. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "sluice/plugin.h"

enum { MAX_FLOWS = 64 };
static struct sluice_flow_stats flows[MAX_FLOWS];
static size_t flow_count;

static int put(void* user, const struct sluice_flow* flow, char* reason, char* detail) {
  struct timespec now;
  struct sluice_flow_stats* stats = &flows[flow_count];
  (void)user;
  if (strstr(flow->actions, "ct(") != NULL) {
    snprintf(reason, 64, "unsupported_action");
    snprintf(detail, 256, "the test plugin cannot do \"ct\", nor (much) else");
    return SLUICE_REFUSED;
  }
  if (flow_count < MAX_FLOWS) {
    clock_gettime(CLOCK_MONOTONIC, &now);
    memcpy(stats->ufid, flow->ufid, sizeof stats->ufid);
    stats->packets = 7;
    stats->bytes = 448;
    stats->used_ns = (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
    stats->tcp_flags = 0x12;
    ++flow_count;
  }
  return SLUICE_INSTALLED;
}

static void del(void* user, const uint8_t ufid[16]) {
  (void)user;
  (void)ufid;
}

static int port_add(void* user, const char* name, uint32_t number, const char* options, char* detail) {
  (void)user;
  (void)number;
  (void)options;
  if (strncmp(name, "bad", 3) != 0) return 0;
  snprintf(detail, 256, "there is no device %s", name);
  return -1;
}

static void port_del(void* user, const char* name) {
  (void)user;
  (void)name;
}

static size_t report(void* user, struct sluice_flow_stats* stats, size_t max) {
  size_t count = flow_count < max ? flow_count : max;
  (void)user;
  memcpy(stats, flows, count * sizeof *stats);
  flow_count -= count;
  memmove(flows, flows + count, flow_count * sizeof *flows);
  return count;
}

static const struct sluice_session_ops ops = {.struct_size = sizeof ops,
                                              .fields = "*",
                                              .actions = "output,drop",
                                              .put = put,
                                              .del = del,
                                              .port_add = port_add,
                                              .port_del = port_del,
                                              .stats = report};

static int start(const struct sluice_plugin_host* host, void** instance, char* error, size_t error_size) {
  *instance = sluice_session_start(host, "1.0", &ops, NULL);
  if (*instance != NULL) return 0;
  snprintf(error, error_size, "the session did not start");
  return -errno;
}

static void stop(void* instance) { sluice_session_stop(instance); }

__attribute__((visibility("default"))) const struct sluice_plugin_descriptor sluice_plugin = {
    SLUICE_PLUGIN_MAGIC, SLUICE_PLUGIN_ABI, sizeof(struct sluice_plugin_descriptor), "test", "1.0", start, stop};
