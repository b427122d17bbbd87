// The one place that knows both layouts: arrays of the caller, [problem][node][component], and the store of a sweep,
// [node][component][lane].
//
// Going from one to the other is a transposition. It is done in square tiles that fit into registers: as many lanes by
// as many of the caller's consecutive scalars as a register holds.
#pragma once

#include "macros.hpp"
#include "native.hpp"

namespace pontryagin {
inline namespace PMP_ISA {
namespace tile {

template <int... i>
struct Indices {};
template <int n, int... i>
struct UpTo : UpTo<n - 1, n - 1, i...> {};
template <int... i>
struct UpTo<0, i...> {
  using type = Indices<i...>;
};

// Lane i of the result is lane indices[i] of a and b behind one another.
template <class V, int... indices>
PMP_INLINE V shuffle(V a, V b, Indices<indices...>) {
#ifdef __clang__
  return __builtin_shufflevector(a, b, indices...);
#else
  using Mask = decltype(a < b);
  return __builtin_shuffle(a, b, Mask{indices...});
#endif
}

// Transposes 2 x 2 blocks of `d` x `d` scalars: of rows a and b, d apart.
template <int d, class V, int... i>
PMP_INLINE void exchange(V& a, V& b, Indices<i...>) {
  constexpr int size = sizeof...(i);
  const V first = shuffle(a, b, Indices<((i & d) ? size + (i & ~d) : i)...>());
  b = shuffle(a, b, Indices<((i & d) ? size + i : i | d)...>());
  a = first;
}

template <int d, int size, class V>
PMP_INLINE void transpose(V (&rows)[size]) {
  if constexpr (d < size) {
    PMP_UNROLL
    for (int i = 0; i < size; ++i)
      if (!(i & d)) exchange<d>(rows[i], rows[i | d], typename UpTo<size>::type());
    transpose<2 * d>(rows);
  }
}

template <class V, class T>
PMP_INLINE V load_unaligned(const T* from) {
  V v;
  __builtin_memcpy(&v, from, sizeof v);
  return v;
}
template <class V, class T>
PMP_INLINE void store_unaligned(V v, T* to) {
  __builtin_memcpy(to, &v, sizeof v);
}

// The rows of the store one after the other, in the caller's order of scalars.
template <int W, class T>
class Rows {
 public:
  PMP_HD Rows(T* store, long node_stride, int components)
      : row_(store),
        gap_(node_stride - static_cast<long>(components) * W),
        components_(components),
        left_(components) {}
  PMP_INLINE T* next() {
    T* const row = row_;
    row_ += W;
    if (--left_ == 0) row_ += gap_, left_ = components_;
    return row;
  }
  template <int size>
  PMP_INLINE void next(T* (&rows)[size]) {
    PMP_UNROLL
    for (int i = 0; i < size; ++i) rows[i] = next();
  }

 private:
  T* row_;
  long gap_;
  int components_, left_;
};

}  // namespace tile

// A block of the caller's array: `stride` scalars from one problem to the next, 0 where the problems share it.
// Lanes beyond `lanes` repeat the last problem, so that they cost nothing and raise nothing new.
template <class T, int W>
PMP_HD void gather(const T* source, long stride, int nodes, int components, int lanes, T* to, long node_stride) {
  constexpr int size = native_lanes(sizeof(T), W);
  const long scalars = static_cast<long>(nodes) * components;
  const auto problem = [=](int lane) { return source + (lane < lanes ? lane : lanes - 1) * stride; };
  tile::Rows<W, T> rows(to, node_stride, components);
  long j = 0;
  if constexpr (size > 1) {
    using V = typename Native<T, size>::type;
    for (; j + size <= scalars; j += size) {
      T* row[size];
      rows.next(row);
      for (int lane = 0; lane < W; lane += size) {
        V v[size];
        PMP_UNROLL
        for (int i = 0; i < size; ++i) v[i] = tile::load_unaligned<V>(problem(lane + i) + j);
        tile::transpose<1>(v);
        PMP_UNROLL
        for (int i = 0; i < size; ++i) native::store(v[i], row[i] + lane);
      }
    }
  }
  for (; j < scalars; ++j) {
    T* const row = rows.next();
    for (int lane = 0; lane < W; ++lane) row[lane] = problem(lane)[j];
  }
}

template <class T, int W>
PMP_HD void scatter(const T* from, long node_stride, int nodes, int components, int lanes, T* target, long stride) {
  constexpr int size = native_lanes(sizeof(T), W);
  const long scalars = static_cast<long>(nodes) * components;
  tile::Rows<W, const T> rows(from, node_stride, components);
  long j = 0;
  if constexpr (size > 1) {
    using V = typename Native<T, size>::type;
    for (; j + size <= scalars; j += size) {
      const T* row[size];
      rows.next(row);
      for (int lane = 0; lane < lanes; lane += size) {
        V v[size];
        PMP_UNROLL
        for (int i = 0; i < size; ++i) native::load(row[i] + lane, v[i]);
        tile::transpose<1>(v);
        PMP_UNROLL
        for (int i = 0; i < size; ++i)
          if (lane + i < lanes) tile::store_unaligned(v[i], target + (lane + i) * stride + j);
      }
    }
  }
  for (; j < scalars; ++j) {
    const T* const row = rows.next();
    for (int lane = 0; lane < lanes; ++lane) target[lane * stride + j] = row[lane];
  }
}

// Adds the lanes, in order, to a target that the problems share.
template <class T, int W>
PMP_HD void reduce(const T* from, long node_stride, int nodes, int components, int lanes, T* target) {
  constexpr int size = native_lanes(sizeof(T), W);
  const long scalars = static_cast<long>(nodes) * components;
  tile::Rows<W, const T> rows(from, node_stride, components);
  long j = 0;
  if constexpr (size > 1) {
    using V = typename Native<T, size>::type;
    for (; j + size <= scalars; j += size) {
      const T* row[size];
      rows.next(row);
      V sum{};
      for (int lane = 0; lane < lanes; lane += size) {
        V v[size];
        PMP_UNROLL
        for (int i = 0; i < size; ++i) native::load(row[i] + lane, v[i]);
        tile::transpose<1>(v);
        PMP_UNROLL
        for (int i = 0; i < size; ++i)
          if (lane + i < lanes) sum += v[i];
      }
      tile::store_unaligned(tile::load_unaligned<V>(target + j) + sum, target + j);
    }
  }
  for (; j < scalars; ++j) {
    const T* const row = rows.next();
    T sum(0);
    for (int lane = 0; lane < lanes; ++lane) sum += row[lane];
    target[j] += sum;
  }
}

}  // namespace PMP_ISA
}  // namespace pontryagin
