// The kernels of a shape.
#pragma once

#include "newton_kernel.hpp"
#include "newton_tile.hpp"

// Placement, without a header of the standard library.
namespace pontryagin {
struct Placed {};
}  // namespace pontryagin
inline void* operator new(decltype(sizeof(0)), void* place, pontryagin::Placed) noexcept { return place; }

namespace pontryagin {
inline namespace PMP_ISA {

template <int W>
struct NewtonTileKernel {
  using Real = Pack<double, W>;
  using Tile = NewtonTile<W>;
  using Lay = RowsOf<W>;

  static Tile& at(void* tile) { return *static_cast<Tile*>(tile); }

  static long bytes(const NewtonWork& work) {
    Arena arena(nullptr);
    arena.take<Tile>(1);
    const Tile counted(*work.problem, *work.functions, *work.settings, *work.batch, work.history, arena);
    return arena.used();
  }

  static void* make(const NewtonWork& work, void* memory) {
    Arena arena(memory);
    Tile* const tile = ::new (static_cast<void*>(arena.take<Tile>(1)), Placed())
        Tile(*work.problem, *work.functions, *work.settings, *work.batch, work.history, arena);
    tile->prepare();
    return tile;
  }

  static void put_lagrangian(Tile& t, const SweepOfSteps& results, long first, int count) {
    const NewtonProblem& p = t.problem();
    const PointSlopes<Real>& slopes = t.slopes();
    const int row = Lay::padded(p.nz);
    for (long k = 0; k <= p.steps; ++k) {
      Real* const slope = slopes.gradient + k * row;
      for (int a = 0; a < p.n && k < p.steps; ++a)
        add_multiple(t.costate()[(k + 1) * p.ns + a], slopes.jacobian + (k * p.n + a) * row, slope, row);
      for (int i = 0; i < p.rows; ++i) {
        Real push(0);
        for (int l = 0; l < count; ++l)
          reinterpret_cast<double*>(&push)[l] =
              p.path_weights[k * p.rows + i] * results.mu[((first + l) * (p.steps + 1L) + k) * p.rows + i];
        add_multiple(push, slopes.path + (k * p.rows + i) * row, slope, row);
      }
      for (int l = 0; l < count; ++l)
        for (int j = 0; j < p.nz; ++j)
          results.lagrangian[((first + l) * (p.steps + 1L) + k) * p.nz + j] =
              reinterpret_cast<const double*>(slope + j)[l];
    }
  }

  // Results of the problems that were added, from `first` on.
  static void sweep(void* tile, const SweepOfSteps& results, long first, int count, bool slopes) {
    Tile& t = at(tile);
    const NewtonProblem& p = t.problem();
    if (slopes) {
      for (int l = 0; l < count; ++l) {
        const long b = first + l;
        t.set_multipliers(l, results.costate + b * (p.steps + 1L) * p.ns, results.nu + b * p.equalities,
                          results.mu + b * (p.steps + 1L) * p.rows, results.weight[b]);
      }
      t.find_slopes();
    } else {
      t.find_values();
    }
    const long N = p.steps;
    if (results.lagrangian != nullptr) return put_lagrangian(t, results, first, count);
    const auto scalar = [](const Real& value, int lane) { return reinterpret_cast<const double*>(&value)[lane]; };
    for (int l = 0; l < count; ++l) {
      const long b = first + l;
      const auto put = [&](const Real* rows, double* to, long size) {
        for (long i = 0; i < size; ++i) to[b * size + i] = scalar(rows[i], l);
      };
      results.cost[b] = scalar(t.values().cost, l);
      for (long k = 0; k < N; ++k)
        for (int a = 0; a < p.ns; ++a)
          results.next[(b * N + k) * p.ns + a] = scalar(t.following(static_cast<int>(k), a), l);
      put(t.values().path, results.path, (N + 1) * p.rows), put(t.values().end, results.end, p.equalities);
      if (!slopes) continue;
      // rows of `length` numbers, which lie `padded` apart
      const auto put_rows = [&](const Real* rows, double* to, long count, int length) {
        for (long i = 0; i < count; ++i)
          for (int j = 0; j < length; ++j)
            to[(b * count + i) * length + j] = scalar(rows[i * Lay::padded(length) + j], l);
      };
      put_rows(t.slopes().gradient, results.gradient, N + 1, p.nz);
      put_rows(t.slopes().path, results.path_jacobian, (N + 1) * p.rows, p.nz);
      put_rows(t.slopes().end, results.end_jacobian, p.equalities, p.ns);
      for (long k = 0; k <= N; ++k) {
        const Real* H = t.slopes().hessian + k * Lay::all(p.nz);
        double* to = results.hessian + (b * (N + 1) + k) * p.nz * p.nz;
        for (int i = 0; i < p.nz; ++i)
          for (int j = 0; j < p.nz; ++j)
            to[i * p.nz + j] = scalar(H[i >= j ? Lay::first(p.nz, i) + j : Lay::first(p.nz, j) + i], l);
        if (k == N) continue;
        double* J = results.jacobian + (b * N + k) * p.ns * p.nz;
        for (int i = 0; i < p.ns; ++i)
          for (int j = 0; j < p.nz; ++j) {
            const bool moves = p.linear_control && i >= p.n && i < p.n + p.m ? j == p.ns + i - p.n : j == i;
            J[i * p.nz + j] = i < p.n ? scalar(t.slopes().jacobian[(k * p.n + i) * Lay::padded(p.nz) + j], l)
                              : moves ? 1.0
                                      : 0.0;
          }
      }
    }
  }

  static NewtonKernel table() {
    NewtonKernel kernel;
    kernel.lanes = W, kernel.bytes = bytes, kernel.make = make, kernel.sweep = sweep;
    kernel.active = [](void* tile) { return at(tile).active(); };
    kernel.add = [](void* tile, long problem) { at(tile).add(problem); };
    kernel.clear = [](void* tile) { at(tile).clear(); };
    kernel.iterate = [](void* tile) { at(tile).iterate(); };
    kernel.told = [](void* tile) { return at(tile).told(); };
    kernel.give_up = [](void* tile) { at(tile).give_up(); };
    kernel.choose_start = [](void* tile, double favour) { at(tile).choose_start(favour); };
    return kernel;
  }
};

#if !PMP_CUDA
inline NewtonKernelSet newton_kernels() {
  return {NewtonTileKernel<1>::table(), NewtonTileKernel<newton_lanes>::table()};
}
#endif

}  // namespace PMP_ISA
}  // namespace pontryagin
