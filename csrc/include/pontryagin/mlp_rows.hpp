// What a sweep of a perceptron does to whole rows of a block of samples, where one thread runs the block: W samples to a
// row, a pack of W lanes. Rows concept of mlp_sweep.hpp.
#pragma once

#include "layout.hpp"
#include "mlp_job.hpp"
#include "mlp_product.hpp"

namespace pontryagin {
inline namespace PMP_ISA {

template <class Real_>
class PackRows {
 public:
  using Real = Real_;
  using T = typename Real::Scalar;
  static constexpr int width = Real::width;
  static constexpr long line = 64;            // bytes that arrays of the workspace begin at multiples of
  static constexpr bool tape_at_hand = true;  // in the workspace, where nobody gives one

  // The numbers of one step: its length times the tableau, and the times of its stages.
  class Step {
   public:
    PMP_INLINE Step(const PackRows&, const MlpJob<T>& job, int n)
        : tableau_(*job.tableau), start_(job.start[n]), h_(job.length[n]) {}
    PMP_INLINE double a(int i, int j) const { return h_ * tableau_.a[i][j]; }
    PMP_INLINE double b(int i) const { return h_ * tableau_.b[i]; }
    PMP_INLINE T time(int i) const { return static_cast<T>(start_ + tableau_.c[i] * h_); }

   private:
    const Tableau& tableau_;
    const double start_, h_;
  };

  // A base (null is zero) and a sum of rows with coefficients; those that are zero are left out.
  class Terms {
   public:
    PMP_INLINE Terms(const PackRows&, const T* base, int rows) : base_(base), rows_(rows) {}
    PMP_INLINE void add(double coefficient, const T* rows) {
      if (coefficient == 0.0) return;
      factor_[count_] = static_cast<T>(coefficient);
      from_[count_++] = rows;
    }
    PMP_NOINLINE void store(T* to) const {
      for (long e = 0; e < static_cast<long>(rows_) * width; e += width) {
        Real value = base_ ? Real::load(base_ + e) : Real(0);
        for (int c = 0; c < count_; ++c) value = fma(Real(factor_[c]), Real::load(from_[c] + e), value);
        value.store(to + e);
      }
    }

   private:
    const T* const base_;
    const int rows_;
    int count_ = 0;
    T factor_[max_stages + 1];
    const T* from_[max_stages + 1];
  };

  // After this, every thread of the block sees what the others wrote: here there is one.
  PMP_INLINE void meet() const {}
  PMP_INLINE bool first() const { return true; }

  void clear(T* to, int rows) const {
    for (long e = 0; e < static_cast<long>(rows) * width; e += width) Real(0).store(to + e);
  }
  void copy(T* to, const T* from, int rows) const {
    for (long e = 0; e < static_cast<long>(rows) * width; e += width) Real::load(from + e).store(to + e);
  }
  // to_i += factor lane_factors from_i
  void add_product(double factor, const T* lane_factors, const T* from, T* to, int rows) const {
    const Real scaled = Real(static_cast<T>(factor)) * Real::load(lane_factors);
    for (long e = 0; e < static_cast<long>(rows) * width; e += width)
      fma(scaled, Real::load(from + e), Real::load(to + e)).store(to + e);
  }
  // to += factor sum_i from_i^2
  void add_squares(double factor, const T* from, T* to, int rows) const {
    Real squares(0);
    for (int i = 0; i < rows; ++i) {
      const Real value = Real::load(from + i * width);
      squares = fma(value, value, squares);
    }
    fma(Real(static_cast<T>(factor)), squares, Real::load(to)).store(to);
  }

  // From the caller's [sample][row]; lanes beyond the samples repeat the last one, or become zero.
  void gather(const T* from, int rows, int samples, T* to) const {
    pontryagin::gather<T, width>(from, rows, 1, rows, samples, to, 0);
  }
  void gather_or_zero(const T* from, int rows, int samples, T* to) const {
    clear(to, rows);
    for (int lane = 0; lane < samples; ++lane)
      for (int i = 0; i < rows; ++i) to[i * width + lane] = from[static_cast<long>(lane) * rows + i];
  }
  // Lanes of a row, and zero beyond the samples.
  void fill(T value, int samples, T* to) const {
    for (int lane = 0; lane < width; ++lane) to[lane] = lane < samples ? value : T(0);
  }
  void scatter(const T* from, int rows, int samples, T* to) const {
    pontryagin::scatter<T, width>(from, 0, 1, rows, samples, to, rows);
  }

  // p_i <- factor (x_i - p_i) in lanes of samples, 0 beyond; answers the sum of f(lane, sum_i (x_i - p_i)^2).
  template <class F>
  double residuals(const T* x, T* p, T factor, int rows, int samples, F f) const {
    double sum = 0.0;
    for (int lane = 0; lane < samples; ++lane) {
      double squares = 0.0;
      for (int i = 0; i < rows; ++i) {
        T& at = p[i * width + lane];
        const T e = x[i * width + lane] - at;
        squares += static_cast<double>(e) * static_cast<double>(e);
        at = factor * e;
      }
      sum += f(lane, squares);
    }
    return sum;
  }
};

// The part that fields have in common which work in the records themselves, wherever these lie.
template <class Real>
struct RecordField {
  using T = typename Real::Scalar;
  using Rows = PackRows<Real>;
  Rows rows;

  static MlpRecord record_of(const MlpJob<T>& job) {
    return {job.net->dim, job.net->record_rows, job.net->velocity_row()};
  }
  PMP_INLINE T* stage(T* record) const { return record; }
  PMP_INLINE const T* recall(T* record) const { return record; }
  PMP_INLINE T* velocity(T* kept, T* own) const { return kept ? kept : own; }
};

// Sums over the lanes, one register each, for one row of weights at a time; they are added up when the row changes.
template <class Real>
class LaneSums {
 public:
  using T = typename Real::Scalar;
  static constexpr int lanes = Real::lanes;

  static long size(const MlpNet& net) {  // in numbers, whole lines of 64 bytes
    constexpr long line = 64 / static_cast<long>(sizeof(T));
    return (static_cast<long>(net.lane_count) * lanes + line - 1) / line * line;
  }
  LaneSums(const MlpNet& net, T* sums, T* memory, bool wanted) : net_(net), sums_(sums), memory_(memory) {
    if (wanted) clear();
  }

  // The sums of this row of weights from here on; -1 ends with what there is.
  PMP_INLINE void use(int row) {
    if (row != row_) turn(row);
  }
  PMP_INLINE T* at(int i) const { return memory_ + static_cast<long>(i) * lanes; }
  PMP_INLINE T* row() const { return sums_ + row_ * net_.row_size; }

 private:
  void turn(int next) {
    if (row_ >= 0) {
      reduce<T, lanes>(memory_, 0, 1, net_.lane_count, lanes, row());
      if (next >= 0) clear();
    }
    row_ = next;
  }
  void clear() {
    for (long i = 0; i < static_cast<long>(net_.lane_count) * lanes; i += lanes) Lanes<Real>(0).store(memory_ + i);
  }

  const MlpNet& net_;
  T *const sums_, *const memory_;
  long row_ = -1;
};

}  // namespace PMP_ISA
}  // namespace pontryagin
