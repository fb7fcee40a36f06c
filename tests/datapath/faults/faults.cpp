// SPDX-License-Identifier: Apache-2.0
#include "faults.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <xdp/xsk.h>

#include <atomic>
#include <cerrno>
#include <cstdarg>

namespace {

std::atomic<bool> armed{false};
std::atomic<unsigned> left{0};
std::atomic<int> with_error{0};
std::atomic<bool> again{false};
std::atomic<const char*> struck{nullptr};

// 0, or the error with which this call is to fail.
int Fault(const char* call) {
  if (!armed) return 0;
  if (struck == nullptr && left.fetch_sub(1) != 1) return 0;
  armed = static_cast<bool>(again) && struck == nullptr;
  struck = call;
  errno = with_error;
  return with_error;
}

}  // namespace

namespace sluice::test {

void FailCall(unsigned nth, int error, bool twice) {
  struck = nullptr;
  again = twice;
  with_error = error;
  left = nth;
  armed = true;
}

std::string StopFailing() {
  armed = false;
  const char* call = struck.exchange(nullptr);
  return call == nullptr ? "" : call;
}

}  // namespace sluice::test

// NOLINTBEGIN(bugprone-reserved-identifier): the names that --wrap wants.
extern "C" {

int __real_bpf_map_create(enum bpf_map_type type, const char* name, __u32 key, __u32 value, __u32 max,
                          const bpf_map_create_opts* opts);
int __wrap_bpf_map_create(enum bpf_map_type type, const char* name, __u32 key, __u32 value, __u32 max,
                          const bpf_map_create_opts* opts) {
  if (const int error = Fault("bpf_map_create"); error != 0) return -error;
  return __real_bpf_map_create(type, name, key, value, max, opts);
}

int __real_bpf_map_update_elem(int fd, const void* key, const void* value, __u64 flags);
int __wrap_bpf_map_update_elem(int fd, const void* key, const void* value, __u64 flags) {
  if (const int error = Fault("bpf_map_update_elem"); error != 0) return -error;
  return __real_bpf_map_update_elem(fd, key, value, flags);
}

int __real_bpf_map_delete_elem(int fd, const void* key);
int __wrap_bpf_map_delete_elem(int fd, const void* key) {
  if (const int error = Fault("bpf_map_delete_elem"); error != 0) return -error;
  return __real_bpf_map_delete_elem(fd, key);
}

int __real_bpf_map_update_batch(int fd, const void* keys, const void* values, __u32* count,
                                const bpf_map_batch_opts* opts);
int __wrap_bpf_map_update_batch(int fd, const void* keys, const void* values, __u32* count,
                                const bpf_map_batch_opts* opts) {
  if (const int error = Fault("bpf_map_update_batch"); error != 0) return -error;
  return __real_bpf_map_update_batch(fd, keys, values, count, opts);
}

int __real_bpf_link_create(int prog, int target, enum bpf_attach_type type, const bpf_link_create_opts* opts);
int __wrap_bpf_link_create(int prog, int target, enum bpf_attach_type type, const bpf_link_create_opts* opts) {
  if (const int error = Fault("bpf_link_create"); error != 0) return -error;
  return __real_bpf_link_create(prog, target, type, opts);
}

int __real_bpf_link_update(int link, int prog, const bpf_link_update_opts* opts);
int __wrap_bpf_link_update(int link, int prog, const bpf_link_update_opts* opts) {
  if (const int error = Fault("bpf_link_update"); error != 0) return -error;
  return __real_bpf_link_update(link, prog, opts);
}

int __real_bpf_obj_pin(int fd, const char* path);
int __wrap_bpf_obj_pin(int fd, const char* path) {
  if (const int error = Fault("bpf_obj_pin"); error != 0) return -error;
  return __real_bpf_obj_pin(fd, path);
}

int __real_bpf_obj_get_info_by_fd(int fd, void* info, __u32* size);
int __wrap_bpf_obj_get_info_by_fd(int fd, void* info, __u32* size) {
  if (const int error = Fault("bpf_obj_get_info_by_fd"); error != 0) return -error;
  return __real_bpf_obj_get_info_by_fd(fd, info, size);
}

int __real_bpf_object__load(bpf_object* object);
int __wrap_bpf_object__load(bpf_object* object) {
  if (const int error = Fault("bpf_object__load"); error != 0) return -error;
  return __real_bpf_object__load(object);
}

int __real_xsk_umem__create(xsk_umem** umem, void* area, __u64 size, xsk_ring_prod* fill, xsk_ring_cons* completion,
                            const xsk_umem_config* config);
int __wrap_xsk_umem__create(xsk_umem** umem, void* area, __u64 size, xsk_ring_prod* fill, xsk_ring_cons* completion,
                            const xsk_umem_config* config) {
  if (const int error = Fault("xsk_umem__create"); error != 0) return -error;
  return __real_xsk_umem__create(umem, area, size, fill, completion, config);
}

int __real_xsk_socket__create(xsk_socket** socket, const char* device, __u32 queue, xsk_umem* umem, xsk_ring_cons* rx,
                              xsk_ring_prod* tx, const xsk_socket_config* config);
int __wrap_xsk_socket__create(xsk_socket** socket, const char* device, __u32 queue, xsk_umem* umem, xsk_ring_cons* rx,
                              xsk_ring_prod* tx, const xsk_socket_config* config) {
  if (const int error = Fault("xsk_socket__create"); error != 0) return -error;
  return __real_xsk_socket__create(socket, device, queue, umem, rx, tx, config);
}

void* __real_mmap(void* address, size_t size, int protection, int flags, int fd, off_t offset);
void* __wrap_mmap(void* address, size_t size, int protection, int flags, int fd, off_t offset) {
  if (Fault("mmap") != 0) return MAP_FAILED;
  return __real_mmap(address, size, protection, flags, fd, offset);
}

int __real_socket(int domain, int type, int protocol);
int __wrap_socket(int domain, int type, int protocol) {
  if (Fault("socket") != 0) return -1;
  return __real_socket(domain, type, protocol);
}

int __real_setsockopt(int fd, int level, int name, const void* value, socklen_t size);
int __wrap_setsockopt(int fd, int level, int name, const void* value, socklen_t size) {
  if (Fault("setsockopt") != 0) return -1;
  return __real_setsockopt(fd, level, name, value, size);
}

int __real_fcntl(int fd, int command, ...);
int __wrap_fcntl(int fd, int command, ...) {
  if (Fault("fcntl") != 0) return -1;
  va_list arguments;
  va_start(arguments, command);
  const long argument = va_arg(arguments, long);
  va_end(arguments);
  return __real_fcntl(fd, command, argument);
}

}  // extern "C"
// NOLINTEND(bugprone-reserved-identifier)
