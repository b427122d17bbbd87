// One native vector register, and the few operations on it that GCC's vector extensions cannot say.
#pragma once

#include "macros.hpp"

#if !PMP_CUDA
#if defined(__x86_64__)
#include <immintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif
#endif

#if PMP_CUDA || defined(__aarch64__) || (defined(__AVX2__) && defined(__FMA__))
#define PMP_FMA 1
#else
#define PMP_FMA 0
#endif

namespace pontryagin {
inline namespace PMP_ISA {

#if PMP_CUDA
using UInt32 = unsigned int;
using UInt64 = unsigned long long;
constexpr int native_bytes = 1;
#else
using Int32 = __INT32_TYPE__;
using Int64 = __INT64_TYPE__;
using UInt32 = __UINT32_TYPE__;
using UInt64 = __UINT64_TYPE__;
#if defined(__AVX512F__) && defined(__AVX512DQ__) && defined(__AVX512VL__)
constexpr int native_bytes = 64;
#elif defined(__AVX2__) && PMP_FMA
constexpr int native_bytes = 32;
#else
constexpr int native_bytes = 16;
#endif
#endif

// Lanes of `bytes` bytes in one register of a pack of W lanes.
PMP_HD constexpr int native_lanes(int bytes, int W) {
  return W * bytes <= native_bytes || W == 1 ? W : native_bytes / bytes;
}

template <class T, int lanes>
struct Native;
template <class T>
struct Native<T, 1> {
  using type = T;
};

template <int bytes, int lanes>
struct NativeMask;
template <int bytes>
struct NativeMask<bytes, 1> {
  using type = bool;
};

// The unsigned integer that holds the bits of a floating-point number.
template <int bytes>
struct BitsOfSize {
  using type = UInt32;
};
template <>
struct BitsOfSize<8> {
  using type = UInt64;
};

#if !PMP_CUDA
#define PMP_NATIVE_VECTOR(T, name, bytes)             \
  typedef T name __attribute__((vector_size(bytes))); \
  template <>                                         \
  struct Native<T, bytes / sizeof(T)> {               \
    using type = name;                                \
  };
#define PMP_NATIVE_MASK(T, name, bytes)               \
  typedef T name __attribute__((vector_size(bytes))); \
  template <>                                         \
  struct NativeMask<sizeof(T), bytes / sizeof(T)> {   \
    using type = name;                                \
  };
#define PMP_NATIVE_VECTORS(bytes)                  \
  PMP_NATIVE_VECTOR(double, Double##bytes, bytes)  \
  PMP_NATIVE_VECTOR(float, Float##bytes, bytes)    \
  PMP_NATIVE_VECTOR(UInt64, UInt64x##bytes, bytes) \
  PMP_NATIVE_VECTOR(UInt32, UInt32x##bytes, bytes) \
  PMP_NATIVE_MASK(Int64, Int64x##bytes, bytes)     \
  PMP_NATIVE_MASK(Int32, Int32x##bytes, bytes)
PMP_NATIVE_VECTORS(16)
#if defined(__AVX2__) && PMP_FMA
PMP_NATIVE_VECTORS(32)
#endif
#if defined(__AVX512F__) && defined(__AVX512DQ__) && defined(__AVX512VL__)
PMP_NATIVE_VECTORS(64)
#endif
#undef PMP_NATIVE_VECTORS
#undef PMP_NATIVE_MASK
#undef PMP_NATIVE_VECTOR
#endif

namespace native {

#if PMP_CUDA

template <class V, class T>
PMP_INLINE V broadcast(T s) {
  return s;
}
template <class T>
PMP_INLINE void load(const T* p, T& v) {
  v = *p;
}
template <class T>
PMP_INLINE void store(T v, T* p) {
  *p = v;
}
PMP_INLINE bool any(bool m) { return m; }
#define PMP_SCALAR_FUNCTIONS(T, suffix)                                \
  PMP_INLINE T abs(T a) { return ::fabs##suffix(a); }                  \
  PMP_INLINE T sqrt(T a) { return ::sqrt##suffix(a); }                 \
  PMP_INLINE T floor(T a) { return ::floor##suffix(a); }               \
  PMP_INLINE T ceil(T a) { return ::ceil##suffix(a); }                 \
  PMP_INLINE T round(T a) { return ::rint##suffix(a); }                \
  PMP_INLINE T trunc(T a) { return ::trunc##suffix(a); }               \
  PMP_INLINE T fma(T a, T b, T c) { return ::fma##suffix(a, b, c); }   \
  PMP_INLINE T fms(T a, T b, T c) { return ::fma##suffix(a, b, -c); }  \
  PMP_INLINE T fnma(T a, T b, T c) { return ::fma##suffix(-a, b, c); } \
  PMP_INLINE T copysign(T a, T b) { return ::copysign##suffix(a, b); }
PMP_SCALAR_FUNCTIONS(double, )
PMP_SCALAR_FUNCTIONS(float, f)
#undef PMP_SCALAR_FUNCTIONS

#else

template <class To, class From>
PMP_INLINE To bit_cast(From a) {
  static_assert(sizeof(To) == sizeof(From), "a bit cast keeps the size");
  To r;
  __builtin_memcpy(&r, &a, sizeof(r));
  return r;
}

template <class V, class T>
PMP_INLINE V broadcast(T s) {
  if constexpr (sizeof(V) == sizeof(T)) {
    return s;
  } else {
    return s - V{};  // s - 0, not s + 0, which loses the sign of -0
  }
}
template <class V, class T>
PMP_INLINE void load(const T* p, V& v) {
  __builtin_memcpy(&v, __builtin_assume_aligned(p, sizeof(V)), sizeof(V));
}
template <class V, class T>
PMP_INLINE void store(V v, T* p) {
  __builtin_memcpy(__builtin_assume_aligned(p, sizeof(V)), &v, sizeof(V));
}

PMP_INLINE bool any(bool m) { return m; }

// Where there is no instruction: lane by lane.
template <class V, class F>
PMP_INLINE V each(V a, F f) {
  V r;
  for (unsigned i = 0; i < sizeof(a) / sizeof(a[0]); ++i) r[i] = f(a[i]);
  return r;
}

#define PMP_SCALAR_FUNCTIONS(T, suffix)                          \
  PMP_INLINE T abs(T a) { return __builtin_fabs##suffix(a); }    \
  PMP_INLINE T sqrt(T a) { return __builtin_sqrt##suffix(a); }   \
  PMP_INLINE T floor(T a) { return __builtin_floor##suffix(a); } \
  PMP_INLINE T ceil(T a) { return __builtin_ceil##suffix(a); }   \
  PMP_INLINE T round(T a) { return __builtin_rint##suffix(a); }  \
  PMP_INLINE T trunc(T a) { return __builtin_trunc##suffix(a); } \
  PMP_INLINE T copysign(T a, T b) { return __builtin_copysign##suffix(a, b); }
PMP_SCALAR_FUNCTIONS(double, )
PMP_SCALAR_FUNCTIONS(float, f)
#undef PMP_SCALAR_FUNCTIONS

#if PMP_FMA
#define PMP_SCALAR_FMA(T, suffix)                                             \
  PMP_INLINE T fma(T a, T b, T c) { return __builtin_fma##suffix(a, b, c); }  \
  PMP_INLINE T fms(T a, T b, T c) { return __builtin_fma##suffix(a, b, -c); } \
  PMP_INLINE T fnma(T a, T b, T c) { return __builtin_fma##suffix(-a, b, c); }
PMP_SCALAR_FMA(double, )
PMP_SCALAR_FMA(float, f)
#undef PMP_SCALAR_FMA
#else
template <class V>
PMP_INLINE V fma(V a, V b, V c) {
  return a * b + c;
}
template <class V>
PMP_INLINE V fms(V a, V b, V c) {
  return a * b - c;
}
template <class V>
PMP_INLINE V fnma(V a, V b, V c) {
  return c - a * b;
}
#endif

#define PMP_VECTOR_SIGN(V, U, T)                                                                      \
  PMP_INLINE V abs(V a) { return bit_cast<V>(bit_cast<U>(a) & ~bit_cast<U>(broadcast<V>(T(-0.0)))); } \
  PMP_INLINE V copysign(V a, V b) {                                                                   \
    const U sign = bit_cast<U>(broadcast<V>(T(-0.0)));                                                \
    return bit_cast<V>((bit_cast<U>(a) & ~sign) | (bit_cast<U>(b) & sign));                           \
  }

#if defined(__x86_64__)

#define PMP_X86_SQRT(V, prefix, suffix) \
  PMP_INLINE V sqrt(V a) { return prefix##_sqrt_##suffix(a); }
#define PMP_X86_FMA(V, prefix, suffix)                                         \
  PMP_INLINE V fma(V a, V b, V c) { return prefix##_fmadd_##suffix(a, b, c); } \
  PMP_INLINE V fms(V a, V b, V c) { return prefix##_fmsub_##suffix(a, b, c); } \
  PMP_INLINE V fnma(V a, V b, V c) { return prefix##_fnmadd_##suffix(a, b, c); }
#define PMP_X86_ROUND(V, name)                                                               \
  PMP_INLINE V floor(V a) { return name(a, _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC); }     \
  PMP_INLINE V ceil(V a) { return name(a, _MM_FROUND_TO_POS_INF | _MM_FROUND_NO_EXC); }      \
  PMP_INLINE V round(V a) { return name(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC); } \
  PMP_INLINE V trunc(V a) { return name(a, _MM_FROUND_TO_ZERO | _MM_FROUND_NO_EXC); }

PMP_VECTOR_SIGN(Double16, UInt64x16, double)
PMP_VECTOR_SIGN(Float16, UInt32x16, float)
PMP_X86_SQRT(Double16, _mm, pd)
PMP_X86_SQRT(Float16, _mm, ps)
PMP_INLINE bool any(Int64x16 m) { return _mm_movemask_epi8((__m128i)m) != 0; }
PMP_INLINE bool any(Int32x16 m) { return _mm_movemask_epi8((__m128i)m) != 0; }
#ifdef __SSE4_1__
PMP_X86_ROUND(Double16, _mm_round_pd)
PMP_X86_ROUND(Float16, _mm_round_ps)
#else
#define PMP_EACH_ROUND(V, T)                      \
  PMP_INLINE V floor(V a) {                       \
    return each(a, [](T x) { return floor(x); }); \
  }                                               \
  PMP_INLINE V ceil(V a) {                        \
    return each(a, [](T x) { return ceil(x); });  \
  }                                               \
  PMP_INLINE V round(V a) {                       \
    return each(a, [](T x) { return round(x); }); \
  }                                               \
  PMP_INLINE V trunc(V a) {                       \
    return each(a, [](T x) { return trunc(x); }); \
  }
PMP_EACH_ROUND(Double16, double)
PMP_EACH_ROUND(Float16, float)
#undef PMP_EACH_ROUND
#endif

#if defined(__AVX2__) && PMP_FMA
PMP_VECTOR_SIGN(Double32, UInt64x32, double)
PMP_VECTOR_SIGN(Float32, UInt32x32, float)
PMP_X86_SQRT(Double32, _mm256, pd)
PMP_X86_SQRT(Float32, _mm256, ps)
PMP_X86_FMA(Double32, _mm256, pd)
PMP_X86_FMA(Float32, _mm256, ps)
PMP_X86_ROUND(Double32, _mm256_round_pd)
PMP_X86_ROUND(Float32, _mm256_round_ps)
PMP_INLINE bool any(Int64x32 m) { return !_mm256_testz_si256((__m256i)m, (__m256i)m); }
PMP_INLINE bool any(Int32x32 m) { return !_mm256_testz_si256((__m256i)m, (__m256i)m); }
#endif

#if defined(__AVX512F__) && defined(__AVX512DQ__) && defined(__AVX512VL__)
PMP_VECTOR_SIGN(Double64, UInt64x64, double)
PMP_VECTOR_SIGN(Float64, UInt32x64, float)
// The masked forms with a full mask: the plain ones of GCC 12 warn of an uninitialised value.
PMP_INLINE Double64 sqrt(Double64 a) { return _mm512_maskz_sqrt_pd(0xff, a); }
PMP_INLINE Float64 sqrt(Float64 a) { return _mm512_maskz_sqrt_ps(0xffff, a); }
#define PMP_ROUNDSCALE_PD(a, mode) _mm512_maskz_roundscale_pd(0xff, a, mode)
#define PMP_ROUNDSCALE_PS(a, mode) _mm512_maskz_roundscale_ps(0xffff, a, mode)
PMP_X86_FMA(Double64, _mm512, pd)
PMP_X86_FMA(Float64, _mm512, ps)
PMP_X86_ROUND(Double64, PMP_ROUNDSCALE_PD)
PMP_X86_ROUND(Float64, PMP_ROUNDSCALE_PS)
PMP_INLINE bool any(Int64x64 m) { return _mm512_test_epi64_mask((__m512i)m, (__m512i)m) != 0; }
PMP_INLINE bool any(Int32x64 m) { return _mm512_test_epi32_mask((__m512i)m, (__m512i)m) != 0; }
PMP_INLINE bool all_within(Double64 a, Double64 limit) { return _mm512_cmp_pd_mask(a, limit, _CMP_NLE_UQ) == 0; }
PMP_INLINE bool all_within(Float64 a, Float64 limit) { return _mm512_cmp_ps_mask(a, limit, _CMP_NLE_UQ) == 0; }
PMP_INLINE Double64 choose(UInt64x64 bits, UInt64x64 bit, Double64 set, Double64 clear) {
  return _mm512_mask_blend_pd(_mm512_test_epi64_mask((__m512i)bits, (__m512i)bit), clear, set);
}
PMP_INLINE Float64 choose(UInt32x64 bits, UInt32x64 bit, Float64 set, Float64 clear) {
  return _mm512_mask_blend_ps(_mm512_test_epi32_mask((__m512i)bits, (__m512i)bit), clear, set);
}
#endif

#undef PMP_X86_SQRT
#undef PMP_X86_FMA
#undef PMP_X86_ROUND
#undef PMP_ROUNDSCALE_PD
#undef PMP_ROUNDSCALE_PS

#elif defined(__aarch64__)

#define PMP_NEON_VECTOR(V, U, T, suffix)                               \
  PMP_VECTOR_SIGN(V, U, T)                                             \
  PMP_INLINE V sqrt(V a) { return vsqrtq_##suffix(a); }                \
  PMP_INLINE V fma(V a, V b, V c) { return vfmaq_##suffix(c, a, b); }  \
  PMP_INLINE V fms(V a, V b, V c) { return vfmaq_##suffix(-c, a, b); } \
  PMP_INLINE V fnma(V a, V b, V c) { return vfmsq_##suffix(c, a, b); } \
  PMP_INLINE V floor(V a) { return vrndmq_##suffix(a); }               \
  PMP_INLINE V ceil(V a) { return vrndpq_##suffix(a); }                \
  PMP_INLINE V round(V a) { return vrndnq_##suffix(a); }               \
  PMP_INLINE V trunc(V a) { return vrndq_##suffix(a); }
PMP_NEON_VECTOR(Double16, UInt64x16, double, f64)
PMP_NEON_VECTOR(Float16, UInt32x16, float, f32)
#undef PMP_NEON_VECTOR
PMP_INLINE bool any(Int64x16 m) { return vmaxvq_u32((uint32x4_t)m) != 0; }
PMP_INLINE bool any(Int32x16 m) { return vmaxvq_u32((uint32x4_t)m) != 0; }

#else
#error "pack.hpp: vectors are known for x86-64, AArch64 and CUDA; add this processor beside them"
#endif

#undef PMP_VECTOR_SIGN

// Is every lane at most the limit? And a choice by one bit of each lane. AVX-512 has shorter ways for both (above).
template <class V>
PMP_INLINE bool all_within(V a, V limit) {
  return !any(!(a <= limit));
}
template <class U, class V>
PMP_INLINE V choose(U bits, U bit, V set, V clear) {
  return (bits & bit) != 0 ? set : clear;
}
#endif

}  // namespace native
}  // namespace PMP_ISA
}  // namespace pontryagin
