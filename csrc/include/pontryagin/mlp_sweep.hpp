// The state equation x' = f(t, x, w(t)) of a multilayer perceptron forward, and its costate equation back, over a block
// of W lanes. Lanes are samples; they share the weights, so that the derivative in the weights is summed over them.
//
// One step with stages i = 1..s, and its transpose (no division by b_i, which may vanish):
//
//     X_i = x + h sum_{j<i} a_ij f_j            m_i = h b_i p + h sum_{j>i} a_ji g_j + omega h b_i r f_i
//     x  <- x + h sum_i b_i f_i                 g_i = f_x' m_i + omega h b_i q X_i,     dJ/dw += f_w' m_i
//     cost += h sum_i b_i L(X_i, f_i)           p  <- p + sum_i g_i
//
// Field concept: Real, scratch_size(net), forward(record, t, row, velocity, slopes), backward(record, t, row, m, sums, g).
//
// Records of stages are kept on a tape for as many steps as stay near the processor, or as the square root of their
// number where that is more; longer horizons make them again, segment by segment (sweep.hpp).
#pragma once

#include "layout.hpp"
#include "mlp_job.hpp"
#include "mlp_product.hpp"
#include "sweep.hpp"

namespace pontryagin {
inline namespace PMP_ISA {

// Making a record again costs more than writing and reading it even from the third-level cache.
constexpr long mlp_tape_bytes = 4L << 20;

template <class Field>
class MlpSweep {
 public:
  using Real = typename Field::Real;
  using T = typename Real::Scalar;
  static constexpr int W = Real::width;

  static long workspace_bytes(const MlpJob<T>& job, bool own_tape) {
    return Places(job, own_tape).count * static_cast<long>(sizeof(T));
  }

  static void run(const MlpJob<T>& job, const MlpPart<T>& part) {
    MlpSweep block(job, part);
    if (part.tape == nullptr) {
      sweep(block, job.steps, block.segment_, job.backward);
    } else {
      block.start();
      if (!job.replay) block.forward(0, job.steps, true);
      block.finish();
      if (job.backward) block.backward(0, job.steps);
    }
    if (job.backward) block.end();
  }

  // ---- the executor ------------------------------------------------------------------------------------------------

  void start() {
    gather<T, W>(job_.initial_state + part_.first * dim_, dim_, 1, dim_, part_.count, x_, 0);
    clear(cost_, 1);
    if (starts_) copy(starts_, x_, dim_);
  }

  void forward(int first, int end, bool keep) {
    for (int n = first; n < end; ++n) {
      T* const step = keep ? record(n - first, 0) : tape_;
      const T* velocity[max_stages];
      for (int i = 0; i < stages_; ++i) {
        T* const stage = step + i * record_size_;
        T* const f = velocity_of(stage, i);
        const double h = job_.length[n];
        Terms terms;
        for (int j = 0; j < i; ++j) terms.add(h * tableau_.a[i][j], velocity[j]);
        terms.sum(x_, stage, dim_);
        field_.forward(stage, time(n, i), row(n, i), f, keep);
        velocity[i] = f;
        add_cost(h * tableau_.b[i], stage, f);
      }
      Terms terms;
      for (int i = 0; i < stages_; ++i) terms.add(job_.length[n] * tableau_.b[i], velocity[i]);
      terms.sum(x_, x_, dim_);
    }
    if (!keep && starts_) copy(starts_ + static_cast<long>(end / segment_) * dim_ * W, x_, dim_);
  }

  void finish() {
    const long from = part_.first * dim_;
    if (job_.final_state && !job_.replay) scatter<T, W>(x_, 0, 1, dim_, part_.count, job_.final_state + from, dim_);
    if (job_.cost && !job_.replay) scatter<T, W>(cost_, 0, 1, 1, part_.count, job_.cost + part_.first, 1);
    if (!job_.backward) return;
    clear(p_, dim_);
    if (job_.target) {
      double error = 0.0, cost = 0.0;
      for (int lane = 0; lane < part_.count; ++lane) {
        for (int i = 0; i < dim_; ++i) {
          const T e = x_[i * W + lane] - job_.target[from + static_cast<long>(lane) * dim_ + i];
          error += static_cast<double>(e) * static_cast<double>(e);
          p_[i * W + lane] = static_cast<T>(2.0 * job_.scale) * e;
        }
        cost += static_cast<double>(cost_[lane]);
      }
      *part_.value += job_.scale * error + (job_.running.any() ? job_.cost_scale * cost : 0.0);
    } else {
      for (int lane = 0; lane < part_.count; ++lane)
        for (int i = 0; i < dim_; ++i) p_[i * W + lane] = job_.final_costate[from + static_cast<long>(lane) * dim_ + i];
    }
    clear(omega_, 1);
    for (int lane = 0; lane < part_.count; ++lane)
      omega_[lane] = job_.cost_cotangent ? job_.cost_cotangent[part_.first + lane] : static_cast<T>(job_.cost_scale);
  }

  void resume(int first) { copy(x_, starts_ + static_cast<long>(first / segment_) * dim_ * W, dim_); }

  void backward(int first, int end) {
    for (int n = end; n-- > first;) {
      const double h = job_.length[n];
      for (int i = stages_; i-- > 0;) {
        const T* const stage = record(n - first, i);
        const double weight = h * tableau_.b[i];
        Terms terms;
        terms.add(weight, p_);
        for (int j = i + 1; j < stages_; ++j) terms.add(h * tableau_.a[j][i], g(j));
        terms.sum(nullptr, m_, dim_);
        if (velocity_cost_ != 0.0) add_product(weight * velocity_cost_, velocity_of(stage, i), m_);
        use_row(row(n, i));
        field_.backward(stage, time(n, i), row_, m_, sums(), g(i));
        if (state_cost_ != 0.0) add_product(weight * state_cost_, stage, g(i));
      }
      Terms terms;
      for (int i = 0; i < stages_; ++i) terms.add(1.0, g(i));
      terms.sum(p_, p_, dim_);
    }
  }

  void end() {
    use_row(-1);
    if (job_.initial_gradient)
      scatter<T, W>(p_, 0, 1, dim_, part_.count, job_.initial_gradient + part_.first * dim_, dim_);
  }

 private:
  // A sum of rows with coefficients; those that are zero are left out.
  struct Terms {
    int count = 0;
    T factor[max_stages + 1];
    const T* from[max_stages + 1];
    PMP_INLINE void add(double coefficient, const T* rows) {
      if (coefficient == 0.0) return;
      factor[count] = static_cast<T>(coefficient);
      from[count++] = rows;
    }
    // to = base + the terms; a base that is not given is zero
    PMP_NOINLINE void sum(const T* base, T* to, int rows) const {
      for (long e = 0; e < static_cast<long>(rows) * W; e += W) {
        Real value = base ? Real::load(base + e) : Real(0);
        for (int c = 0; c < count; ++c) value = fma(Real(factor[c]), Real::load(from[c] + e), value);
        value.store(to + e);
      }
    }
  };

  // Where in the workspace everything lies, in numbers.
  struct Places {
    long x, p, m, omega, cost, velocities, g, scratch, accumulators, tape, starts, count = 0;
    int segment;
    Places(const MlpJob<T>& job, bool own_tape) {
      const MlpNet& net = *job.net;
      const int stages = job.tableau->stages;
      const long step = static_cast<long>(stages) * net.record_rows;
      segment = job.backward && own_tape ? segment_of(job.steps, step) : job.steps;
      x = take(net.dim), p = take(net.dim), m = take(net.dim), omega = take(1), cost = take(1);
      velocities = take(static_cast<long>(stages) * net.dim);
      g = take(static_cast<long>(stages) * net.dim);
      scratch = take((Field::scratch_size(net) + W - 1) / W);
      accumulators = count, count += static_cast<long>(net.lane_count) * Real::lanes;
      count = (count + line - 1) / line * line;
      tape = own_tape ? take(step * (job.backward ? segment : 1)) : -1;
      starts = segment < job.steps ? take((job.steps / segment + 1L) * net.dim) : -1;
    }
    static constexpr long line = 64 / static_cast<long>(sizeof(T));
    long take(long rows) {
      const long at = count;
      count += (rows * W + line - 1) / line * line;
      return at;
    }
    static int segment_of(int steps, long step_rows) {
      const long near = mlp_tape_bytes / (static_cast<long>(sizeof(T)) * W * step_rows);
      long root = 1;
      while (root * root < steps) ++root;
      const long fit = near > root ? near : root;
      if (fit >= steps) return steps;
      const long segments = (steps + fit - 1) / fit;
      return static_cast<int>((steps + segments - 1) / segments);
    }
  };

  MlpSweep(const MlpJob<T>& job, const MlpPart<T>& part)
      : job_(job),
        part_(part),
        tableau_(*job.tableau),
        places_(job, part.tape == nullptr),
        workspace_(static_cast<T*>(part.workspace)),
        field_(*job.net, job.weights, workspace_ + places_.scratch, workspace_ + places_.accumulators) {
    stages_ = tableau_.stages, dim_ = job.net->dim, segment_ = places_.segment;
    record_size_ = static_cast<long>(job.net->record_rows) * W;
    state_cost_ = job.running.state, velocity_cost_ = job.running.velocity;
    x_ = at(places_.x), p_ = at(places_.p), m_ = at(places_.m), omega_ = at(places_.omega), cost_ = at(places_.cost);
    tape_ = part.tape ? part.tape : at(places_.tape);
    starts_ = places_.starts < 0 ? nullptr : at(places_.starts);
    row_ = -1;
    if (job.backward) clear_accumulators();
  }

  T* at(long place) const { return workspace_ + place; }
  T* g(int i) const { return workspace_ + places_.g + static_cast<long>(i) * dim_ * W; }
  T* record(int step, int i) const { return tape_ + (static_cast<long>(step) * stages_ + i) * record_size_; }
  template <class Number>
  Number* velocity_of(Number* stage, int i) const {
    const MlpLayer& last = job_.net->layers[job_.net->layer_count - 1];
    if (last.output_row >= 0) return stage + static_cast<long>(last.output_row) * W;
    return workspace_ + places_.velocities + static_cast<long>(i) * dim_ * W;
  }
  T time(int n, int i) const { return static_cast<T>(job_.start[n] + tableau_.c[i] * job_.length[n]); }
  int row(int n, int i) const { return job_.rows[static_cast<long>(n) * stages_ + i]; }

  static void clear(T* to, int rows) {
    for (long e = 0; e < static_cast<long>(rows) * W; e += W) Real(0).store(to + e);
  }
  static void copy(T* to, const T* from, int rows) {
    for (long e = 0; e < static_cast<long>(rows) * W; e += W) Real::load(from + e).store(to + e);
  }

  void add_cost(double weight, const T* state, const T* velocity) {
    const auto add = [&](double factor, const T* rows) {
      if (factor == 0.0) return;
      Real squares(0);
      for (int i = 0; i < dim_; ++i) {
        const Real value = Real::load(rows + i * W);
        squares = fma(value, value, squares);
      }
      fma(Real(static_cast<T>(factor)), squares, Real::load(cost_)).store(cost_);
    };
    add(0.5 * weight * state_cost_, state);
    add(0.5 * weight * velocity_cost_, velocity);
  }
  void add_product(double factor, const T* rows, T* to) const {
    const Real scaled = Real(static_cast<T>(factor)) * Real::load(omega_);
    for (long e = 0; e < static_cast<long>(dim_) * W; e += W)
      fma(scaled, Real::load(rows + e), Real::load(to + e)).store(to + e);
  }

  // ---- sums over lanes: the accumulators belong to one row of weights at a time --------------------------------------

  T* sums() const { return part_.sums + static_cast<long>(row_) * job_.net->row_size; }
  void use_row(int row) {
    if (row == row_) return;
    if (row_ >= 0) {
      constexpr int lanes = Real::lanes;
      reduce<T, lanes>(workspace_ + places_.accumulators, 0, 1, job_.net->lane_count, lanes, sums());
      if (row >= 0) clear_accumulators();
    }
    row_ = row;
  }
  void clear_accumulators() {
    T* const to = workspace_ + places_.accumulators;
    for (long i = 0; i < static_cast<long>(job_.net->lane_count) * Real::lanes; i += Real::lanes)
      Lanes<Real>(0).store(to + i);
  }

  const MlpJob<T>& job_;
  const MlpPart<T>& part_;
  const Tableau& tableau_;
  const Places places_;
  T* const workspace_;
  Field field_;
  int stages_, dim_, segment_, row_;
  long record_size_;
  double state_cost_, velocity_cost_;
  T *x_, *p_, *m_, *omega_, *cost_, *tape_, *starts_;
};

}  // namespace PMP_ISA
}  // namespace pontryagin
