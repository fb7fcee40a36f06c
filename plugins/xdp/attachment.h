// SPDX-License-Identifier: Apache-2.0
// An XDP program's hold on a device: a bpf_link, which lets go when it is closed, whatever becomes of us.
#pragma once

#include <cstdint>
#include <string>
#include <utility>

#include "device.h"
#include "sluice/error.h"
#include "sluice/unique_fd.h"

namespace sluice::xdp {

// As `mode=` has them. kAuto: native, and generic where the device refuses that.
enum class Mode { kAuto, kNative, kGeneric, kOffload };
const char* ToString(Mode mode);
// kAuto for "auto" and anything unknown.
Mode ParseMode(const std::string& text);

// The largest MTU whose frames fit into a buffer of one page, drivers differing by a little: above it a program must
// take packets of several buffers.
inline constexpr uint32_t kSinglePageMtu = 3498;

// The program of somebody else, taken off a device.
class Displaced {
 public:
  // Takes the device's program off: that one, and no other that came since `device` was asked about. Errors: "busy"
  // where it cannot be told for certain which it is; "no_permission" (needs CAP_SYS_ADMIN).
  static Result<Displaced> TakeOff(const Device& device);

  // "'xdp_dispatcher' (id 12), in native mode, by bpf_link 7".
  [[nodiscard]] const std::string& what() const { return what_; }
  // Attached again as it was, where nobody else is there by now. False: its bpf_link is detached for good.
  [[nodiscard]] bool PutBack() const;

 private:
  Displaced(int ifindex, uint32_t flags, std::string what) : ifindex_(ifindex), flags_(flags), what_(std::move(what)) {}

  int ifindex_;
  uint32_t flags_;
  std::string what_;
  UniqueFd program_;  // empty where it was by a bpf_link
};

class Attachment {
 public:
  // Attaches the program to the device, which must have none ("busy", with that one's name). A mode that the driver
  // says it does not have is not tried. Never returns one in mode kAuto. `*native_refusal`, where not null, is set to
  // why mode auto fell back to generic.
  static Result<Attachment> Attach(const Device& device, int program_fd, Mode mode, std::string* native_refusal);
  // What Attach says of a device that has a program.
  static Error Busy(const Device& device);
  // From where Pin left it. "no_such_device" if it is not on `device` any more.
  static Result<Attachment> FromPin(const std::string& path, const Device& device);

  Attachment(Attachment&&) = default;
  Attachment& operator=(Attachment&&) = default;

  [[nodiscard]] Mode mode() const { return mode_; }
  // Somebody detached it, of which the kernel sends no word.
  [[nodiscard]] bool IsLost() const;
  // Lets it outlive us, in bpffs.
  [[nodiscard]] Result<void> Pin(const std::string& path) const;
  // Puts another program in the place of the present one: packets meet the one or the other, and none meets neither.
  [[nodiscard]] Result<void> Replace(int program_fd, const std::string& device) const;

 private:
  Attachment(UniqueFd link, Mode mode) : link_(std::move(link)), mode_(mode) {}

  UniqueFd link_;
  Mode mode_;
};

}  // namespace sluice::xdp
