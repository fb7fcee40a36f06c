/* SPDX-License-Identifier: Apache-2.0 */
/* The C interface of a Sluice offload plugin: what a plugin's shared object exports, what the daemon (or
 * sluice-plugin-host) gives it, and a small session that speaks the bus for it. C99, no C++ type crosses.
 *
 * A plugin exports one object named `sluice_plugin` of type struct sluice_plugin_descriptor.
 *
 * Life: the host loads the object, checks magic, abi_version and struct_size, and calls start() on a thread of its own.
 * start() returns when the plugin runs (its threads are its own) or could not. stop() is called once, from any thread;
 * when it returns no thread, callback or file descriptor of the plugin may be left: the object is unloaded next.
 * Before stop() the core has told the plugin on the bus to withdraw, and waited for its "bye", where it could.
 *
 * What a plugin learns and says, it learns and says on the bus (sluice.proto: ToPlugin, FromPlugin). It may do so with
 * its own ZeroMQ and protobuf over `endpoint`, or let sluice_session_* from libsluice do it. */
#ifndef SLUICE_PLUGIN_H
#define SLUICE_PLUGIN_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define SLUICE_PLUGIN_MAGIC 0x314e4c50434c53ULL /* "SLCPLN1" */
#define SLUICE_PLUGIN_ABI 1
#define SLUICE_PLUGIN_SYMBOL "sluice_plugin"

enum sluice_log_level { SLUICE_LOG_DEBUG, SLUICE_LOG_INFO, SLUICE_LOG_WARN, SLUICE_LOG_ERROR };

/* Given to start(); valid until stop() has returned. Strings are UTF-8, NUL-terminated, owned by the host. */
struct sluice_plugin_host {
  uint32_t struct_size;
  uint32_t reserved;
  const char* name;       /* under which the plugin was loaded */
  const char* options;    /* JSON object of strings, "{}" if none */
  const char* endpoint;   /* ZeroMQ endpoint of the core's plugin path */
  const char* token;      /* say it in Hello: tells the core which load this is */
  const char* run_dir;    /* of the daemon; for sockets and pins of the plugin's own */
  const char* object_dir; /* where the installed BPF objects are */
  void* zmq_context;      /* the context to use where endpoint is inproc:, else NULL */
  void* log_arg;
  void (*log)(void* log_arg, int level, const char* line); /* any thread */
};

struct sluice_plugin_descriptor {
  uint64_t magic;
  uint32_t abi_version;
  uint32_t struct_size;
  const char* name;
  const char* version;
  /* 0 and *instance set, or a negative errno with a sentence written to error[0..error_size). */
  int (*start)(const struct sluice_plugin_host* host, void** instance, char* error, size_t error_size);
  void (*stop)(void* instance);
};

/* Once in a plugin, at file scope, where it cannot share a process with others (what it links cannot be unloaded, or
 * cannot be started twice): it is then always run by sluice-plugin-host, and refused as a thread. The daemon finds the
 * section in the file before it would load it. */
#define SLUICE_PLUGIN_PROCESS_SECTION ".sluice_process"
#define SLUICE_PLUGIN_NEEDS_PROCESS \
  __attribute__((used, section(SLUICE_PLUGIN_PROCESS_SECTION))) static const char sluice_plugin_needs_process = 1;

/* ---- The session: optional, in libsluice. One thread of its own; all callbacks come from it, one at a time.
 *
 * The session keeps the books for the plugin. Flows and ports that the core no longer has after a resync, and on a
 * stop that is not to keep them all of them, are deleted by calling del and port_del. A flow that is replaced by
 * another instance of its ufid is deleted first. A callback that takes seconds makes the core believe that the plugin
 * hangs. */

enum sluice_verdict_state {
  SLUICE_PENDING = 1,
  SLUICE_INSTALLED = 2,
  SLUICE_SOFTWARE = 3,
  SLUICE_REFUSED = 4,
  SLUICE_FAILED = 5
};

struct sluice_flow {
  uint8_t ufid[16];
  const char* match; /* odp text, ports by name; valid during the callback */
  const char* actions;
  uint32_t priority;
  uint64_t instance; /* another instance of a ufid is another flow */
};

struct sluice_flow_stats { /* counted since the last call */
  uint8_t ufid[16];
  uint64_t packets, bytes;
  uint64_t used_ns; /* CLOCK_MONOTONIC */
  uint32_t tcp_flags;
};

struct sluice_session_ops {
  uint32_t struct_size;
  const char* fields;  /* comma-separated names of the fields it matches, or "*" */
  const char* actions; /* comma-separated action names, or "*" */
  /* Install or replace. Returns enum sluice_verdict_state; may write reason (a word) and detail (a sentence), both
   * NUL-terminated, at most 64 and 256 bytes with the NUL; both are empty before the call. A flow that is there already
   * comes again where its actions or ports changed. NULL callbacks are allowed: flows are refused, ports accepted. */
  int (*put)(void* user, const struct sluice_flow* flow, char* reason, char* detail);
  void (*del)(void* user, const uint8_t ufid[16]);
  /* 0, or -1 with detail (as above) written. Called again for a port whose options change. */
  int (*port_add)(void* user, const char* name, uint32_t number, const char* options_json, char* detail);
  void (*port_del)(void* user, const char* name);
  /* Every 600 ms, and before and after flows are deleted: fill at most max entries, return how many; called
   * again while it returns max. What is reported after a del for the flow deleted still counts. */
  size_t (*stats)(void* user, struct sluice_flow_stats* stats, size_t max);
};

struct sluice_session;
/* NULL and errno set on failure. `user` must live until the session is stopped; `ops` is copied, with its strings.
 * `version` NULL is "0". Needs set in `ops`: struct_size. */
struct sluice_session* sluice_session_start(const struct sluice_plugin_host* host, const char* version,
                                            const struct sluice_session_ops* ops, void* user);
void sluice_session_stop(struct sluice_session* session); /* joins its thread; NULL: nothing */

#ifdef __cplusplus
}
#endif
#endif /* SLUICE_PLUGIN_H */
