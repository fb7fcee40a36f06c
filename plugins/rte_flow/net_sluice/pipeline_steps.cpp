// SPDX-License-Identifier: Apache-2.0
// The steps of programs, one by one. What edits mean is plugins/soft's; what is put around a frame or taken off it is
// parsed anew.
#include <linux/if_ether.h>

#include <algorithm>
#include <cstring>

#include "checksums.h"
#include "device.h"
#include "pipeline.h"

namespace sluice::netsluice {
namespace {

constexpr size_t kVxlanSize = 8;
constexpr size_t kIpv6Size = 40;

void PutWord(uint8_t* at, size_t value) {
  at[0] = static_cast<uint8_t>(value >> 8);
  at[1] = static_cast<uint8_t>(value);
}

}  // namespace

soft::Editor& Pipeline::Edit() {
  if (!editor_) {
    frame_.Assign(Bytes());
    editor_.emplace(frame_, headers_);
  }
  return *editor_;
}

bool Pipeline::Do(const SetStep& step) {
  Edit().Set(*step.fields);
  return true;
}

bool Pipeline::Do(const PushStep& step) {
  Edit().Push(step.tag);
  return true;
}

bool Pipeline::Do(const PopStep& /*step*/) {
  Edit().PopTag();
  return true;
}

bool Pipeline::Do(const DecTtlStep& /*step*/) {
  if (Edit().DecrementTtl()) return true;
  device_.counters().Add(Counter::kRxTtlExpired);
  return false;
}

bool Pipeline::Do(const StripStep& step) { return Strip(step.size); }

bool Pipeline::Do(const DecapStep& /*step*/) {
  Edit();
  const size_t vxlan = FindVxlan(frame_.bytes(), soft::Parse(frame_.bytes(), 0).headers);
  return vxlan == 0 || Strip(vxlan + kVxlanSize);
}

bool Pipeline::Do(const EncapStep& step) {
  Edit();
  frame_.GrowFront(step.headers.size());
  std::memcpy(frame_.bytes().data(), step.headers.data(), step.headers.size());
  FitLengths(step.headers.size());
  editor_.emplace(frame_, soft::Parse(frame_.bytes(), 0).headers);
  return true;
}

bool Pipeline::Do(const WireStep& step) {
  wire_ = &step;
  return true;
}

bool Pipeline::Do(const QueueStep& step) {
  queue_ = &step;
  return true;
}

bool Pipeline::Strip(size_t size) {
  Edit();
  if (frame_.size() < size + ETH_HLEN) {
    device_.counters().Add(Counter::kRxEditFailed);
    return false;
  }
  frame_.ShrinkFront(size);
  editor_.emplace(frame_, soft::Parse(frame_.bytes(), 0).headers);
  return true;
}

// Of the outermost IP header and UDP header, if they are among the `size` bytes put on.
void Pipeline::FitLengths(size_t size) {
  const soft::Headers headers = soft::Parse(frame_.bytes(), 0).headers;
  uint8_t* frame = frame_.bytes().data();
  const size_t ip = headers.l3_offset;
  if (headers.l3 == soft::Layer3::kIpv4 && ip < size) {
    PutWord(frame + ip + 2, frame_.size() - ip);
    PutWord(frame + ip + 10, 0);
    PutWord(frame + ip + 10, InternetChecksum({frame + ip, size_t{4} * (frame[ip] & 0xf)}));
  } else if (headers.l3 == soft::Layer3::kIpv6 && ip < size) {
    PutWord(frame + ip + 4, frame_.size() - ip - kIpv6Size);
  }
  if (headers.l4 == soft::Layer4::kUdp && headers.l4_offset < size) {
    PutWord(frame + headers.l4_offset + 4, frame_.size() - headers.l4_offset);
  }
}

}  // namespace sluice::netsluice
