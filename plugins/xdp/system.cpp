// SPDX-License-Identifier: Apache-2.0
#include "system.h"

#include <linux/capability.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

namespace sluice::xdp {
namespace {

const char* ReasonOf(int error) {
  switch (error) {
    case EPERM:
    case EACCES:
      return "no_permission";
    case ENODEV:
    case ENXIO:
      return "no_such_device";
    case EBUSY:
    case EEXIST:
      return "busy";
    case EOPNOTSUPP:
    case ENOSYS:
      return "not_supported";
    default:
      return "system";
  }
}

bool InEffect(const __user_cap_data_struct* data, int number) {
  return ((data[CAP_TO_INDEX(number)].effective & CAP_TO_MASK(number)) != 0);
}

}  // namespace

const Capability kCapBpf{CAP_BPF, "CAP_BPF"};
const Capability kCapPerfmon{CAP_PERFMON, "CAP_PERFMON"};
const Capability kCapNetAdmin{CAP_NET_ADMIN, "CAP_NET_ADMIN"};
const Capability kCapNetRaw{CAP_NET_RAW, "CAP_NET_RAW"};
const Capability kCapSysAdmin{CAP_SYS_ADMIN, "CAP_SYS_ADMIN"};

Error SystemError(const std::string& what, int error) { return {ReasonOf(error), what + ": " + std::strerror(error)}; }

std::string MissingCapabilities(std::initializer_list<Capability> needed) {
  __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
  __user_cap_data_struct data[2]{};
  if (syscall(SYS_capget, &header, data) != 0) return {};
  std::string missing;
  for (const auto& capability : needed) {
    if (InEffect(data, capability.number)) continue;
    if ((capability.number == CAP_BPF || capability.number == CAP_PERFMON) && InEffect(data, CAP_SYS_ADMIN)) continue;
    missing += (missing.empty() ? "" : " and ") + std::string(capability.name);
  }
  return missing;
}

Error SystemErrorNeeding(const std::string& what, int error, std::initializer_list<Capability> needed) {
  Error result = SystemError(what, error);
  if (error != EPERM && error != EACCES) return result;
  const std::string missing = MissingCapabilities(needed);
  if (!missing.empty()) result.detail += "; sluiced runs without " + missing;
  return result;
}

}  // namespace sluice::xdp
