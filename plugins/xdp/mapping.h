// SPDX-License-Identifier: Apache-2.0
// An mmapped BPF array map.
#pragma once

#include <sys/mman.h>

#include <cstddef>
#include <utility>

namespace sluice::xdp {

class Mapping {
 public:
  Mapping() = default;
  Mapping(void* address, size_t size) : address_(address), size_(size) {}
  Mapping(Mapping&& other) noexcept
      : address_(std::exchange(other.address_, nullptr)), size_(std::exchange(other.size_, 0)) {}
  Mapping& operator=(Mapping&& other) noexcept {
    std::swap(address_, other.address_);
    std::swap(size_, other.size_);
    return *this;
  }
  ~Mapping() {
    if (address_ != nullptr) munmap(address_, size_);
  }

  template <typename T>
  [[nodiscard]] T* As() const {
    return static_cast<T*>(address_);
  }
  [[nodiscard]] size_t size() const { return size_; }

 private:
  void* address_ = nullptr;
  size_t size_ = 0;
};

}  // namespace sluice::xdp
