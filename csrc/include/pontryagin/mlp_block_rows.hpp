// What a sweep of a perceptron does to whole rows of a tile of samples, where the threads of a block run it together.
// Rows concept of mlp_sweep.hpp. Element e of rows one after the other belongs to thread e mod threads, so that threads
// have to meet only where one reads what another wrote.
//
// A row has room for `lanes` samples, and for four more numbers where their number is a multiple of eight: rows next to
// each other then begin in different banks of the memory.
#pragma once

#include "mlp_job.hpp"
#include "pack.hpp"

namespace pontryagin {
inline namespace PMP_ISA {

template <class T_, int lanes_, int dim, class Block>
class BlockRows {
 public:
  using T = T_;
  static constexpr int lanes = lanes_, width = lanes % 8 == 0 ? lanes + 4 : lanes, threads = Block::threads;
  static constexpr long line = 16;
  static constexpr bool tape_at_hand = false;

  // Numbers of shared memory: the table of a step, and a double for each sample.
  static constexpr int table_size = (max_stages + 2) * max_stages + 1;
  static constexpr int scratch_size = table_size + lanes * static_cast<int>(sizeof(double) / sizeof(T));
  static_assert(table_size % 4 == 0 && lanes % 4 == 0, "arrays begin at multiples of 16 bytes");

  PMP_INLINE BlockRows(Block block, T* scratch)
      : block_(block), table_(scratch), totals_(reinterpret_cast<double*>(scratch + table_size)) {}

  // The numbers of one step: its length times the tableau, and the times of its stages, made once for all threads.
  class Step {
   public:
    PMP_INLINE Step(const BlockRows& rows, const MlpJob<T>& job, int n) : table_(rows.table_) {
      const Tableau& tableau = *job.tableau;
      rows.meet();
      PMP_DEVICE_ROLLED
      for (int k = rows.thread(); k < (max_stages + 2) * max_stages; k += threads) {
        const int i = k / max_stages, j = k % max_stages;
        const double h = job.length[n];
        table_[k] = static_cast<T>(i < max_stages    ? h * tableau.a[i][j]
                                   : i == max_stages ? h * tableau.b[j]
                                                     : job.start[n] + tableau.c[j] * h);
      }
      rows.meet();
    }
    PMP_INLINE T a(int i, int j) const { return table_[i * max_stages + j]; }
    PMP_INLINE T b(int i) const { return table_[max_stages * max_stages + i]; }
    PMP_INLINE T time(int i) const { return table_[(max_stages + 1) * max_stages + i]; }

   private:
    T* const table_;
  };

  // A base (null is zero) and a sum of rows with coefficients; those that are zero are left out.
  class Terms {
   public:
    PMP_INLINE Terms(const BlockRows& rows, const T* base, int) : thread_(rows.thread()) {
      own([&](int u, int e) PMP_INLINE_LAMBDA { value_[u] = base ? base[e] : T(0); });
    }
    PMP_INLINE void add(T coefficient, const T* rows) {
      if (coefficient == T(0)) return;
      own([&](int u, int e) PMP_INLINE_LAMBDA { value_[u] = native::fma(coefficient, rows[e], value_[u]); });
    }
    PMP_INLINE void store(T* to) const {
      own([&](int u, int e) PMP_INLINE_LAMBDA { to[e] = value_[u]; });
    }

   private:
    static constexpr int size = dim * width, share = (size + threads - 1) / threads;
    template <class F>
    PMP_INLINE void own(F f) const {
      PMP_UNROLL
      for (int u = 0; u < share; ++u) {
        const int e = thread_ + u * threads;
        if (size % threads == 0 || e < size) f(u, e);
      }
    }
    T value_[share];
    const int thread_;
  };

  PMP_INLINE int thread() const { return block_.thread(); }
  PMP_INLINE void meet() const { block_.meet(); }
  PMP_INLINE bool first() const { return thread() == 0; }

  PMP_INLINE void clear(T* to, int rows) const {
    elements(rows, [&](int e) PMP_INLINE_LAMBDA { to[e] = T(0); });
  }
  PMP_INLINE void copy(T* to, const T* from, int rows) const {
    elements(rows, [&](int e) PMP_INLINE_LAMBDA { to[e] = from[e]; });
  }
  PMP_INLINE void add_product(double factor, const T* lane_factors, const T* from, T* to, int rows) const {
    elements(rows, [&](int e) PMP_INLINE_LAMBDA {
      to[e] = native::fma(static_cast<T>(factor) * lane_factors[e % width], from[e], to[e]);
    });
  }
  PMP_INLINE void add_squares(double factor, const T* from, T* to, int rows) const {
    each_lane([&](int lane) PMP_INLINE_LAMBDA {
      T squares(0);
      PMP_DEVICE_ROLLED
      for (int i = 0; i < rows; ++i) squares = native::fma(from[i * width + lane], from[i * width + lane], squares);
      to[lane] = native::fma(static_cast<T>(factor), squares, to[lane]);
    });
    meet();
  }

  // From the caller's [sample][row]; lanes beyond the samples repeat the last one, or become zero.
  PMP_INLINE void gather(const T* from, int rows, int samples, T* to) const {
    elements(rows, [&](int e) PMP_INLINE_LAMBDA {
      const int lane = e % width;
      to[e] = from[static_cast<long>(lane < samples ? lane : samples - 1) * rows + e / width];
    });
  }
  PMP_INLINE void gather_or_zero(const T* from, int rows, int samples, T* to) const {
    elements(rows, [&](int e) PMP_INLINE_LAMBDA {
      const int lane = e % width;
      to[e] = lane < samples ? from[static_cast<long>(lane) * rows + e / width] : T(0);
    });
  }
  PMP_INLINE void fill(T value, int samples, T* to) const {
    elements(1, [&](int e) PMP_INLINE_LAMBDA { to[e] = e < samples ? value : T(0); });
  }
  PMP_INLINE void scatter(const T* from, int rows, int samples, T* to) const {
    elements(rows, [&](int e) PMP_INLINE_LAMBDA {
      const int lane = e % width;
      if (lane < samples) to[static_cast<long>(lane) * rows + e / width] = from[e];
    });
  }

  // p_i <- factor (x_i - p_i) in lanes of samples; answers the first thread the sum of f(lane, sum_i (x_i - p_i)^2).
  template <class F>
  PMP_INLINE double residuals(const T* x, T* p, T factor, int rows, int samples, F f) const {
    meet();
    each_lane([&](int lane) PMP_INLINE_LAMBDA {
      if (lane >= samples) return;
      double squares = 0.0;
      PMP_DEVICE_ROLLED
      for (int i = 0; i < rows; ++i) {
        T& at = p[i * width + lane];
        const T e = x[i * width + lane] - at;
        squares += static_cast<double>(e) * static_cast<double>(e);
        at = factor * e;
      }
      totals_[lane] = f(lane, squares);
    });
    meet();
    double sum = 0.0;
    if (!first()) return sum;
    PMP_DEVICE_ROLLED
    for (int lane = 0; lane < samples; ++lane) sum += totals_[lane];
    return sum;
  }

 private:
  template <class F>
  PMP_INLINE void elements(int rows, F f) const {
    PMP_DEVICE_ROLLED
    for (int e = thread(); e < rows * width; e += threads) f(e);
  }
  template <class F>
  PMP_INLINE void each_lane(F f) const {
    PMP_DEVICE_ROLLED
    for (int lane = thread(); lane < lanes; lane += threads) f(lane);
  }

  Block block_;
  T* table_;
  double* totals_;
};

}  // namespace PMP_ISA
}  // namespace pontryagin
