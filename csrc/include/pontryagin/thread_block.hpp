// The threads of a block as code sees them: how many, which one this is, where they meet, and the memory that they share.
//
// On a GPU they are what CUDA gives. On a processor (tests) whoever runs them says so in `host_thread`: the same code,
// thread by thread, each up to the place where it meets the others.
#pragma once

#include "macros.hpp"

namespace pontryagin {

#ifndef __CUDA_ARCH__
struct HostThread {
  int number = 0;
  void* memory = nullptr;    // shared, aligned to 16 bytes
  void (*meet)() = nullptr;  // returns when all threads have come here
};
inline HostThread host_thread;
#endif

template <int count>
struct ThreadBlock {
  static constexpr int threads = count;

  PMP_INLINE int thread() const {
#ifdef __CUDA_ARCH__
    return static_cast<int>(threadIdx.x);
#else
    return host_thread.number;
#endif
  }
  PMP_INLINE void meet() const {
#ifdef __CUDA_ARCH__
    __syncthreads();
#else
    host_thread.meet();
#endif
  }
  template <class T>
  PMP_INLINE T* memory() const {
#ifdef __CUDA_ARCH__
    extern __shared__ double2 block_memory[];
    return reinterpret_cast<T*>(block_memory);
#else
    return static_cast<T*>(host_thread.memory);
#endif
  }
};

}  // namespace pontryagin
