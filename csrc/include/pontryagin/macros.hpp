// What differs between compilers: one name for each, the same for g++, clang, nvcc and NVRTC.
#pragma once

// The instruction set that this translation unit is compiled for. It names an inline namespace around everything that
// is compiled more than once, so that the linker cannot take the AVX-512 copy of a function into the baseline.
#ifndef PMP_ISA
#define PMP_ISA generic
#endif

#ifdef __CUDACC__  // nvcc, in both of its passes, and NVRTC
#define PMP_CUDA 1
#define PMP_HD __host__ __device__
#define PMP_INLINE __host__ __device__ __forceinline__
#define PMP_NOINLINE __host__ __device__ __noinline__
#define PMP_INLINE_LAMBDA
#define PMP_DEVICE_INLINE __host__ __device__ __forceinline__
#define PMP_DEVICE_CALL __noinline__
#define PMP_DEVICE_ROLLED _Pragma("unroll 1")
#define PMP_DEVICE_UNROLL(depth) PMP_DEVICE_PRAGMA(unroll depth)  // several loads on their way at a time
#define PMP_DEVICE_PRAGMA(text) _Pragma(#text)
#else
#define PMP_CUDA 0
#define PMP_HD
#define PMP_INLINE inline __attribute__((always_inline))
#define PMP_NOINLINE __attribute__((noinline))
#define PMP_INLINE_LAMBDA __attribute__((always_inline))
// As the compiler likes: only on a device must the objects of sweeps be in registers, and loops be short.
#define PMP_DEVICE_INLINE
#define PMP_DEVICE_CALL  // large and called from several places: code and compile time of a device
#define PMP_DEVICE_ROLLED
#define PMP_DEVICE_UNROLL(depth)
#endif

#if PMP_CUDA
#define PMP_UNLIKELY(condition) (condition)
#else
#define PMP_UNLIKELY(condition) __builtin_expect(!!(condition), 0)
#endif

// Unrolls the next loop completely (its bounds are constants), or keeps it a loop.
#if PMP_CUDA
#define PMP_UNROLL _Pragma("unroll")
#define PMP_ROLLED _Pragma("unroll 1")
#elif defined(__clang__)
#define PMP_UNROLL _Pragma("clang loop unroll(full)")
#define PMP_ROLLED _Pragma("clang loop unroll(disable)")
#else
#define PMP_UNROLL _Pragma("GCC unroll 64")
#define PMP_ROLLED _Pragma("GCC unroll 1")
#endif
