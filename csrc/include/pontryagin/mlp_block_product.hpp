// Products of a layer with a tile of samples, each thread a small tile of results in registers.
//
// Rows of samples are `width` numbers wide, rows of weights `stride`; both begin at multiples of 16 bytes.
#pragma once

#include "pack.hpp"

namespace pontryagin {
inline namespace PMP_ISA {

// Results of one thread: rows by columns.
struct BlockTile {
  int rows, columns;
  PMP_HD constexpr int tasks(int of_rows, int of_columns) const {
    return ((of_rows + rows - 1) / rows) * ((of_columns + columns - 1) / columns);
  }
};

// The largest tile that leaves work for all threads: large ones read less for each product.
PMP_HD constexpr BlockTile block_tile(int rows, int columns, int threads) {
  const BlockTile tiles[] = {{4, 4}, {2, 4}, {2, 2}, {1, 2}};
  for (const BlockTile& tile : tiles)
    if (tile.tasks(rows, columns) >= threads) return tile;
  return {1, 1};
}

// N numbers that lie at a multiple of their size.
template <class T, int N>
struct alignas(N * sizeof(T) < 16 ? N * sizeof(T) : 16) Group {
  T v[N];
  static PMP_INLINE Group load(const T* from) { return *reinterpret_cast<const Group*>(from); }
  PMP_INLINE void store(T* to) const { *reinterpret_cast<Group*>(to) = *this; }
};

// y_mn += sum_k a_m[k] x[k][n]
template <int terms, int width, class T, int M, int N>
PMP_INLINE void add_product(Group<T, N> (&y)[M], const T* const (&a)[M], const T* x) {
  constexpr int fours = terms / 4 * 4;
  const auto add = [&](int m, T factor, const Group<T, N>& column) PMP_INLINE_LAMBDA {
    PMP_UNROLL
    for (int n = 0; n < N; ++n) y[m].v[n] = native::fma(factor, column.v[n], y[m].v[n]);
  };
  [[maybe_unused]] constexpr int depth = M * N <= 4 ? 2 : 1;
  PMP_DEVICE_UNROLL(depth)
  for (int k = 0; k < fours; k += 4) {
    Group<T, 4> factors[M];
    PMP_UNROLL
    for (int m = 0; m < M; ++m) factors[m] = Group<T, 4>::load(a[m] + k);
    PMP_UNROLL
    for (int q = 0; q < 4; ++q) {
      const auto column = Group<T, N>::load(x + (k + q) * width);
      PMP_UNROLL
      for (int m = 0; m < M; ++m) add(m, factors[m].v[q], column);
    }
  }
  PMP_UNROLL
  for (int k = fours; k < terms; ++k) {
    const auto column = Group<T, N>::load(x + k * width);
    PMP_UNROLL
    for (int m = 0; m < M; ++m) add(m, a[m][k], column);
  }
}

// y_mn += sum_j a[j][m] x[j][n]
template <int terms, int stride, int width, class T, int M, int N>
PMP_INLINE void add_transposed(Group<T, N> (&y)[M], const T* a, const T* x) {
  [[maybe_unused]] constexpr int depth = M * N <= 4 ? 4 : 2;
  PMP_DEVICE_UNROLL(depth)
  for (int j = 0; j < terms; ++j, a += stride, x += width) {
    const auto row = Group<T, M>::load(a);
    const auto column = Group<T, N>::load(x);
    PMP_UNROLL
    for (int m = 0; m < M; ++m) {
      PMP_UNROLL
      for (int n = 0; n < N; ++n) y[m].v[n] = native::fma(row.v[m], column.v[n], y[m].v[n]);
    }
  }
}

// y_mn += sum over lanes of a_m b_n
template <int lanes, class T, int M, int N>
PMP_INLINE void add_outer(T (&y)[M][N], const T* const (&a)[M], const T* const (&b)[N]) {
  [[maybe_unused]] constexpr int depth = M * N <= 4 ? 2 : 1;
  PMP_DEVICE_UNROLL(depth)
  for (int lane = 0; lane < lanes; lane += 4) {
    Group<T, 4> rows[M], columns[N];
    PMP_UNROLL
    for (int m = 0; m < M; ++m) rows[m] = Group<T, 4>::load(a[m] + lane);
    PMP_UNROLL
    for (int n = 0; n < N; ++n) columns[n] = Group<T, 4>::load(b[n] + lane);
    PMP_UNROLL
    for (int m = 0; m < M; ++m) {
      PMP_UNROLL
      for (int n = 0; n < N; ++n) {
        PMP_UNROLL
        for (int q = 0; q < 4; ++q) y[m][n] = native::fma(rows[m].v[q], columns[n].v[q], y[m][n]);
      }
    }
  }
}

}  // namespace PMP_ISA
}  // namespace pontryagin
