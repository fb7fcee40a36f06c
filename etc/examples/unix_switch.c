/* SPDX-License-Identifier: Apache-2.0 */
/* A whole plugin in C99, with a device that needs no privilege: a switch whose ports are Unix datagram sockets.
 *
 *   cc -std=gnu99 -shared -fPIC unix_switch.c -o unix_switch.so $(pkg-config --cflags --libs sluice) -lpthread
 *   sluicectl plugin load ./unix_switch.so --option dir=/tmp/wires
 *   sluicectl port add p0 --plugin unix_switch
 *   sluicectl flow add "in_port(p0),eth_type(0x0800), actions:p1"
 *
 * Port p0 is the socket DIR/p0: each datagram that comes there is a frame. What a flow sends out of p0 goes to the
 * socket DIR/p0.peer, if somebody has one there. It matches in_port, Ethernet addresses and type, and does outputs and
 * flood; a frame without a flow is dropped. Copy it and make it yours: what a device has to do is between the lines of
 * dashes.
 */
#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "sluice/plugin.h"

enum { MAX_PORTS = 64, MAX_OUTPUTS = 8, MAX_NAME = 64, MAX_FRAME = 65536, HEADER = 14, FLOOD = -1 };

/* ------------------------------------------------------------------ the device */

struct port {
  char name[MAX_NAME];
  int fd; /* -1: this place is free */
};

struct flow {
  struct flow* next; /* the higher priority first */
  uint8_t ufid[16];
  uint32_t priority;
  char in_port[MAX_NAME]; /* "": any */
  uint8_t value[HEADER];
  uint8_t mask[HEADER];
  int outputs; /* how many, or FLOOD */
  char output[MAX_OUTPUTS][MAX_NAME];
  struct sluice_flow_stats counted; /* since the last report */
};

struct device {
  char dir[80];
  struct port ports[MAX_PORTS];
  struct flow* flows;
  struct flow* gone; /* deleted, with counters still to be reported */
  int epoll;
  int quit;
  pthread_mutex_t lock; /* all above: the session's thread changes it, the device's forwards by it */
  pthread_t thread;
  uint8_t frame[MAX_FRAME]; /* the one that is being forwarded */
  struct sluice_session* session;
};

static uint64_t now_ns(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static bool socket_path(const struct device* device, const char* port, const char* suffix,
                        struct sockaddr_un* address) {
  const size_t size = sizeof(address->sun_path);
  memset(address, 0, sizeof(*address));
  address->sun_family = AF_UNIX;
  return (size_t)snprintf(address->sun_path, size, "%s/%s%s", device->dir, port, suffix) < size;
}

static struct port* find_port(struct device* device, const char* name) {
  for (struct port* port = device->ports; port < device->ports + MAX_PORTS; ++port) {
    if (port->fd >= 0 && strcmp(port->name, name) == 0) return port;
  }
  return NULL;
}

static void send_out(struct device* device, const struct port* port, const uint8_t* frame, size_t size) {
  struct sockaddr_un peer;
  if (!socket_path(device, port->name, ".peer", &peer)) return;
  /* Nobody there, or nobody who fetches it: the frame is lost, as on a wire. */
  (void)sendto(port->fd, frame, size, 0, (struct sockaddr*)&peer, sizeof(peer));
}

static bool takes(const struct flow* flow, const char* in_port, const uint8_t* frame) {
  uint8_t header[HEADER];
  if (flow->in_port[0] != '\0' && strcmp(flow->in_port, in_port) != 0) return false;
  memcpy(header, frame, HEADER);
  if (header[12] < 6) header[12] = 5, header[13] = 0xff; /* a length: 802.3, which OVS calls type 0x05ff */
  for (int i = 0; i < HEADER; ++i) {
    if (((header[i] ^ flow->value[i]) & flow->mask[i]) != 0) return false;
  }
  return true;
}

static void forward(struct device* device, const struct port* in_port, const uint8_t* frame, size_t size) {
  struct flow* flow = device->flows;
  if (size < HEADER) return;
  while (flow != NULL && !takes(flow, in_port->name, frame)) flow = flow->next;
  if (flow == NULL) return;
  ++flow->counted.packets;
  flow->counted.bytes += size;
  flow->counted.used_ns = now_ns();
  for (int i = 0; i < flow->outputs; ++i) {
    const struct port* out = find_port(device, flow->output[i]);
    if (out != NULL) send_out(device, out, frame, size);
  }
  for (const struct port* out = device->ports; flow->outputs == FLOOD && out < device->ports + MAX_PORTS; ++out) {
    if (out->fd >= 0 && out != in_port) send_out(device, out, frame, size);
  }
}

static void* run(void* arg) {
  struct device* device = arg;
  for (;;) {
    struct epoll_event event;
    if (epoll_wait(device->epoll, &event, 1, -1) != 1) continue;
    if (event.data.ptr == NULL) return NULL; /* quit */
    struct port* port = event.data.ptr;
    pthread_mutex_lock(&device->lock); /* one frame at a time: a flow that is deleted takes none afterwards */
    const ssize_t size = port->fd < 0 ? -1 : recv(port->fd, device->frame, MAX_FRAME, MSG_DONTWAIT);
    if (size > 0) forward(device, port, device->frame, (size_t)size);
    pthread_mutex_unlock(&device->lock);
  }
}

/* The flow out of the table. Counters that have not been reported wait for it among those gone. */
static void take_out(struct device* device, const uint8_t ufid[16]) {
  for (struct flow** at = &device->flows; *at != NULL; at = &(*at)->next) {
    struct flow* flow = *at;
    if (memcmp(flow->ufid, ufid, sizeof(flow->ufid)) != 0) continue;
    *at = flow->next;
    if (flow->counted.packets != 0) {
      flow->next = device->gone;
      device->gone = flow;
    } else {
      free(flow);
    }
    return;
  }
}

static void enter(struct device* device, struct flow* flow) {
  struct flow** at = &device->flows;
  while (*at != NULL && (*at)->priority >= flow->priority) at = &(*at)->next;
  flow->next = *at;
  *at = flow;
}

/* ------------------------------------------------------------------ from flow text to what the device knows
 *
 * The text is canonical: in_port(p0),eth(src=02:00:00:00:00:01,dst=...),eth_type(0x88b5). */

static bool skip(const char** at, const char* word) {
  const size_t size = strlen(word);
  if (strncmp(*at, word, size) != 0) return false;
  *at += size;
  return true;
}

static bool read_address(const char** at, uint8_t address[6]) {
  int size = 0;
  if (sscanf(*at, "%2hhx:%2hhx:%2hhx:%2hhx:%2hhx:%2hhx%n", &address[0], &address[1], &address[2], &address[3],
             &address[4], &address[5], &size) != 6) {
    return false;
  }
  *at += size;
  return true;
}

static bool read_eth(const char** at, struct flow* flow) {
  do {
    const int place = skip(at, "src=") ? 6 : skip(at, "dst=") ? 0 : -1;
    if (place < 0 || !read_address(at, flow->value + place)) return false;
    memset(flow->mask + place, 0xff, 6);
    if (skip(at, "/") && !read_address(at, flow->mask + place)) return false;
  } while (skip(at, ","));
  return skip(at, ")");
}

static bool read_in_port(const char** at, struct flow* flow) {
  const size_t size = strcspn(*at, ")/");
  if (size >= sizeof(flow->in_port) || (*at)[size] != ')') return false;
  memcpy(flow->in_port, *at, size);
  *at += size + 1;
  return true;
}

static bool read_eth_type(const char** at, struct flow* flow) {
  unsigned type = 0;
  int size = 0;
  if (sscanf(*at, "%x)%n", &type, &size) != 1 || size == 0) return false;
  flow->value[12] = (uint8_t)(type >> 8);
  flow->value[13] = (uint8_t)type;
  flow->mask[12] = flow->mask[13] = 0xff;
  *at += size;
  return true;
}

static bool read_match(const char* match, struct flow* flow, char* detail) {
  for (const char* at = match; *at != '\0';) {
    const char* group = at;
    const bool read = skip(&at, "in_port(")    ? read_in_port(&at, flow)
                      : skip(&at, "eth(")      ? read_eth(&at, flow)
                      : skip(&at, "eth_type(") ? read_eth_type(&at, flow)
                                               : false;
    if (!read) {
      snprintf(detail, 256, "a unix switch cannot match %.*s)", (int)strcspn(group, ")"), group);
      return false;
    }
    skip(&at, ",");
  }
  return true;
}

/* Names of ports are not looked up here: they come and go, and the flow comes again when they do. */
static bool read_actions(const char* actions, struct flow* flow, char* detail) {
  if (*actions == '\0' || strcmp(actions, "drop") == 0) return true;
  if (strcmp(actions, "flood") == 0) {
    flow->outputs = FLOOD;
    return true;
  }
  for (const char* at = actions; *at != '\0'; skip(&at, ",")) {
    const size_t size = strcspn(at, ",(");
    if (at[size] == '(' || size >= MAX_NAME || flow->outputs == MAX_OUTPUTS) {
      snprintf(detail, 256, "a unix switch can send to up to %d ports and nothing else, not %.*s", MAX_OUTPUTS,
               (int)size, at);
      return false;
    }
    memcpy(flow->output[flow->outputs++], at, size);
    at += size;
  }
  return true;
}

/* ------------------------------------------------------------------ what the session asks */

static bool is_there(struct device* device, const char* name) {
  struct sockaddr_un address;
  return socket_path(device, name, "", &address) && access(address.sun_path, F_OK) == 0;
}

/* SLUICE_INSTALLED, or why the ports that the flow names cannot be used. */
static int check_port(struct device* device, const char* name, char* reason, char* detail) {
  static const char* const words[] = {"pop_vlan", "dec_ttl", "ct_clear", "upcall", "flood"};
  for (size_t i = 0; i < sizeof(words) / sizeof(*words); ++i) {
    if (strcmp(name, words[i]) != 0) continue;
    snprintf(reason, 64, "unsupported_action");
    snprintf(detail, 256, "a unix switch cannot do %s here", name);
    return SLUICE_REFUSED;
  }
  if (find_port(device, name) == NULL) {
    snprintf(reason, 64, "no_such_port");
    snprintf(detail, 256, "port %s is not there", name);
    return SLUICE_REFUSED;
  }
  if (!is_there(device, name)) {
    snprintf(reason, 64, "device_gone");
    snprintf(detail, 256, "port %s has lost its socket %s/%s", name, device->dir, name);
    return SLUICE_FAILED;
  }
  return SLUICE_INSTALLED;
}

static int put(void* user, const struct sluice_flow* wanted, char* reason, char* detail) {
  struct device* device = user;
  int verdict = SLUICE_REFUSED;
  struct flow* flow = calloc(1, sizeof(*flow));
  if (flow == NULL) {
    snprintf(reason, 64, "no_memory");
    snprintf(detail, 256, "there is no memory for another flow");
    return SLUICE_FAILED; /* what it had of this flow, it keeps */
  }
  memcpy(flow->ufid, wanted->ufid, sizeof(flow->ufid));
  memcpy(flow->counted.ufid, wanted->ufid, sizeof(flow->ufid));
  flow->priority = wanted->priority;
  pthread_mutex_lock(&device->lock);
  if (!read_match(wanted->match, flow, detail)) {
    snprintf(reason, 64, "unsupported_field");
  } else if (!read_actions(wanted->actions, flow, detail)) {
    snprintf(reason, 64, "unsupported_action");
  } else {
    verdict = flow->in_port[0] != '\0' ? check_port(device, flow->in_port, reason, detail) : SLUICE_INSTALLED;
    for (int i = 0; i < flow->outputs && verdict == SLUICE_INSTALLED; ++i) {
      verdict = check_port(device, flow->output[i], reason, detail);
    }
  }
  take_out(device, wanted->ufid);
  if (verdict == SLUICE_INSTALLED) {
    enter(device, flow);
  } else {
    free(flow);
  }
  pthread_mutex_unlock(&device->lock);
  return verdict;
}

static void del(void* user, const uint8_t ufid[16]) {
  struct device* device = user;
  pthread_mutex_lock(&device->lock);
  take_out(device, ufid);
  pthread_mutex_unlock(&device->lock);
}

static void close_port(struct device* device, struct port* port) {
  struct sockaddr_un address;
  if (socket_path(device, port->name, "", &address)) unlink(address.sun_path);
  close(port->fd);
  port->fd = -1;
}

static int open_port(struct device* device, const char* name, char* detail) {
  const struct timeval patience = {.tv_usec = 100000}; /* with a peer whose queue is full */
  struct port* port = device->ports;
  struct sockaddr_un address;
  while (port < device->ports + MAX_PORTS && port->fd >= 0) ++port;
  if (port == device->ports + MAX_PORTS || strlen(name) >= MAX_NAME || !socket_path(device, name, "", &address)) {
    snprintf(detail, 256, "no room for port %s: there may be %d, with shorter names than that", name, MAX_PORTS);
    return -1;
  }
  port->fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  unlink(address.sun_path); /* of a run that was killed */
  struct epoll_event event = {.events = EPOLLIN, .data.ptr = port};
  if (port->fd < 0 || bind(port->fd, (struct sockaddr*)&address, sizeof(address)) != 0 ||
      setsockopt(port->fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience)) != 0 ||
      epoll_ctl(device->epoll, EPOLL_CTL_ADD, port->fd, &event) != 0) {
    snprintf(detail, 256, "no socket %.100s: %s", address.sun_path, strerror(errno));
    if (port->fd >= 0) close(port->fd);
    port->fd = -1;
    return -1;
  }
  strcpy(port->name, name);
  return 0;
}

static int port_add(void* user, const char* name, uint32_t number, const char* options, char* detail) {
  struct device* device = user;
  int failed = 0;
  (void)number;
  if (strcmp(options, "{}") != 0) {
    snprintf(detail, 256, "a port of a unix switch has no options, not %.100s", options);
    return -1;
  }
  pthread_mutex_lock(&device->lock);
  if (find_port(device, name) == NULL) failed = open_port(device, name, detail); /* else it is told again */
  pthread_mutex_unlock(&device->lock);
  return failed;
}

static void port_del(void* user, const char* name) {
  struct device* device = user;
  struct port* port;
  pthread_mutex_lock(&device->lock);
  port = find_port(device, name);
  if (port != NULL) close_port(device, port);
  pthread_mutex_unlock(&device->lock);
}

static size_t stats(void* user, struct sluice_flow_stats* out, size_t max) {
  struct device* device = user;
  size_t count = 0;
  pthread_mutex_lock(&device->lock);
  while (device->gone != NULL && count < max) {
    struct flow* flow = device->gone;
    device->gone = flow->next;
    out[count++] = flow->counted;
    free(flow);
  }
  for (struct flow* flow = device->flows; flow != NULL && count < max; flow = flow->next) {
    if (flow->counted.packets == 0) continue;
    out[count++] = flow->counted;
    flow->counted.packets = flow->counted.bytes = 0;
  }
  pthread_mutex_unlock(&device->lock);
  return count;
}

static const struct sluice_session_ops ops = {.struct_size = sizeof(ops),
                                              .fields = "in_port,eth_src,eth_dst,eth_type",
                                              .actions = "output,flood,drop",
                                              .put = put,
                                              .del = del,
                                              .port_add = port_add,
                                              .port_del = port_del,
                                              .stats = stats};

/* ------------------------------------------------------------------ its life */

/* Options are one flat JSON object of strings. There is one, "dir"; any other is refused by name. */
static bool read_options(const char* options, struct device* device, char* error, size_t error_size) {
  char name[64];
  char value[sizeof(device->dir)];
  int size = 0;
  snprintf(device->dir, sizeof(device->dir), "/tmp");
  if (strcmp(options, "{}") == 0) return true;
  for (const char* at = options; *at == '{' || *at == ','; at += size) {
    size = 0;
    if (sscanf(at, "%*[{,]\"%63[^\"]\":\"%79[^\"]\"%n", name, value, &size) != 2 || size == 0) {
      snprintf(error, error_size, "an option cannot be read: %.100s", at);
      return false;
    }
    if (strcmp(name, "dir") != 0) {
      snprintf(error, error_size, "there is no option '%s'; there is: dir", name);
      return false;
    }
    strcpy(device->dir, value);
  }
  return true;
}

static void let_go(struct device* device) {
  while (device->flows != NULL) take_out(device, device->flows->ufid);
  while (device->gone != NULL) {
    struct flow* flow = device->gone;
    device->gone = flow->next;
    free(flow);
  }
  for (struct port* port = device->ports; port < device->ports + MAX_PORTS; ++port) {
    if (port->fd >= 0) close_port(device, port);
  }
  close(device->epoll);
  close(device->quit);
  free(device);
}

static void end_thread(struct device* device) {
  const uint64_t one = 1;
  if (write(device->quit, &one, sizeof(one)) == sizeof(one)) pthread_join(device->thread, NULL);
}

static int start(const struct sluice_plugin_host* host, void** instance, char* error, size_t error_size) {
  struct epoll_event quit = {.events = EPOLLIN, .data.ptr = NULL};
  struct device* device = calloc(1, sizeof(*device));
  if (device == NULL) return -ENOMEM;
  for (int i = 0; i < MAX_PORTS; ++i) device->ports[i].fd = -1;
  pthread_mutex_init(&device->lock, NULL);
  device->epoll = epoll_create1(EPOLL_CLOEXEC);
  device->quit = eventfd(0, EFD_CLOEXEC);
  if (!read_options(host->options, device, error, error_size)) {
    let_go(device);
    return -EINVAL;
  }
  if (epoll_ctl(device->epoll, EPOLL_CTL_ADD, device->quit, &quit) != 0 ||
      pthread_create(&device->thread, NULL, run, device) != 0) {
    snprintf(error, error_size, "no thread, or no descriptor for it");
    let_go(device);
    return -EAGAIN;
  }
  device->session = sluice_session_start(host, "1.0", &ops, device);
  if (device->session == NULL) {
    snprintf(error, error_size, "no session: %s", strerror(errno));
    end_thread(device);
    let_go(device);
    return -EIO;
  }
  *instance = device;
  return 0;
}

static void stop(void* instance) {
  struct device* device = instance;
  sluice_session_stop(device->session); /* no callback comes after it */
  end_thread(device);
  let_go(device);
}

__attribute__((visibility("default"))) const struct sluice_plugin_descriptor sluice_plugin = {
    .magic = SLUICE_PLUGIN_MAGIC,
    .abi_version = SLUICE_PLUGIN_ABI,
    .struct_size = sizeof(sluice_plugin),
    .name = "unix_switch",
    .version = "1.0",
    .start = start,
    .stop = stop,
};
